"""The words of prompts: one vocabulary for clinical tables, for writing and for reading."""

from dataclasses import dataclass

from guidegen.statements import Region


@dataclass(frozen=True)
class SiteWords:
    """How an organ is called.

    `noun` is the site's name in statements; `adjective` stands before a mass (`renal mass`); `others` are read only.
    """

    noun: str
    adjective: str
    others: tuple[str, ...] = ()
    paired: bool = False


SITES: dict[str, SiteWords] = {
    words.noun: words
    for words in (
        SiteWords("lung", "pulmonary", ("lungs", "bronchus", "bronchial"), paired=True),
        SiteWords("kidney", "renal", ("kidneys",), paired=True),
        SiteWords("liver", "hepatic"),
        SiteWords("pancreas", "pancreatic"),
        SiteWords("colon", "colonic", ("large bowel",)),
        SiteWords("rectum", "rectal"),
        SiteWords("stomach", "gastric"),
        SiteWords("urinary bladder", "bladder", ("vesical",)),
        SiteWords("ovary", "ovarian", ("ovaries",), paired=True),
        SiteWords("uterus", "uterine", ("endometrial", "endometrium")),
        SiteWords("oesophagus", "oesophageal", ("esophagus", "esophageal")),
        SiteWords("adrenal gland", "adrenal", ("adrenals",), paired=True),
        SiteWords("spleen", "splenic"),
        SiteWords("prostate", "prostatic"),
        SiteWords("duodenum", "duodenal"),
        SiteWords("small bowel", "small-bowel", ("ileum", "jejunum")),
    )
}
SUBSITES: dict[str, tuple[str, ...]] = {
    "lung": ("upper lobe", "middle lobe", "lower lobe", "main bronchus", "lingula"),
    "pancreas": ("head", "body", "tail", "body and tail", "head and body"),
    "colon": (
        *("cecum", "ascending colon", "hepatic flexure", "transverse colon", "splenic flexure"),
        *("descending colon", "sigmoid colon"),
    ),
    "rectum": ("rectosigmoid junction",),
    "stomach": ("cardia", "fundus", "body", "antrum", "pylorus"),
    "kidney": ("upper pole", "lower pole", "renal pelvis"),
    "urinary bladder": ("lateral wall", "posterior wall", "anterior wall", "trigone", "dome", "bladder neck"),
    "uterus": ("endometrium", "cervix"),
}
"""Parts of organs, by site."""
STANDALONE = {
    *SUBSITES["colon"],
    *("rectosigmoid junction", "main bronchus", "lingula", "renal pelvis", "bladder neck", "trigone", "endometrium"),
}
"""Subsites that name their organ by themselves."""
LOBES = {
    "LUL": ("left", "upper lobe"),
    "LLL": ("left", "lower lobe"),
    "RUL": ("right", "upper lobe"),
    "RML": ("right", "middle lobe"),
    "RLL": ("right", "lower lobe"),
}
"""Abbreviations of lung lobes."""
HISTOLOGIES: dict[str, tuple[str, ...]] = {
    "squamous cell carcinoma": ("SCC", "squamous carcinoma"),
    "adenocarcinoma": ("adenoca",),
    "hepatocellular carcinoma": ("HCC",),
    "clear cell renal cell carcinoma": ("ccRCC", "clear cell RCC"),
    "papillary renal cell carcinoma": ("pRCC", "papillary RCC"),
    "chromophobe renal cell carcinoma": ("chRCC", "chromophobe RCC"),
    "renal cell carcinoma": ("RCC",),
    "ductal adenocarcinoma": (),
    "infiltrating duct carcinoma": (),
    "non-small cell lung cancer": ("NSCLC",),
    "small cell carcinoma": (),
    "mucinous adenocarcinoma": (),
    "neuroendocrine carcinoma": ("NEC",),
    "cholangiocarcinoma": ("CCA",),
    "transitional cell carcinoma": ("TCC",),
    "urothelial carcinoma": (),
}
"""Frequent histologies and their abbreviations; others are written and read by their plain name."""
READ_HISTOLOGIES = {
    "pdac": "ductal adenocarcinoma",
    "pancreatic ductal adenocarcinoma": "ductal adenocarcinoma",
    "kidney renal clear cell carcinoma": "clear cell renal cell carcinoma",
    "renal clear cell carcinoma": "clear cell renal cell carcinoma",
    "kidney renal papillary cell carcinoma": "papillary renal cell carcinoma",
    "kidney chromophobe": "chromophobe renal cell carcinoma",
    "chromophobe type renal cell carcinoma": "chromophobe renal cell carcinoma",
}
"""Names that tables and texts use for a histology."""
IMPLIED_SITES = {
    "hepatocellular": "liver",
    "renal cell": "kidney",
    "lung cancer": "lung",
    "cholangiocarcinoma": "liver",
}
"""Words of a histology that leave no doubt about the organ."""
MASS_NOUNS = (
    *("mass", "tumour", "lesion", "tumor", "nodule", "neoplasm"),
    *("masses", "lesions", "tumours", "tumors", "nodules", "neoplasms"),
)
"""Words for something that is seen on the images; the first three are written, all are read."""
REGION_WORDS: dict[str, tuple[Region, Region]] = {
    "chest": (Region.CHEST, Region.CHEST),
    "thorax": (Region.CHEST, Region.CHEST),
    "thoracic": (Region.CHEST, Region.CHEST),
    "upper abdomen": (Region.UPPER_ABDOMEN, Region.UPPER_ABDOMEN),
    "upper abdominal": (Region.UPPER_ABDOMEN, Region.UPPER_ABDOMEN),
    "abdomen": (Region.UPPER_ABDOMEN, Region.ABDOMEN),
    "abdominal": (Region.UPPER_ABDOMEN, Region.ABDOMEN),
    "abdo": (Region.UPPER_ABDOMEN, Region.ABDOMEN),
    "mid-abdomen": (Region.ABDOMEN, Region.ABDOMEN),
    "lower abdomen": (Region.ABDOMEN, Region.ABDOMEN),
    "pelvis": (Region.PELVIS, Region.PELVIS),
    "pelvic": (Region.PELVIS, Region.PELVIS),
    "thoracoabdominal": (Region.CHEST, Region.ABDOMEN),
    "abdominopelvic": (Region.UPPER_ABDOMEN, Region.PELVIS),
    "torso": (Region.CHEST, Region.PELVIS),
    "whole trunk": (Region.CHEST, Region.PELVIS),
    "cap": (Region.CHEST, Region.PELVIS),
    "c/a/p": (Region.CHEST, Region.PELVIS),
    "tap": (Region.CHEST, Region.PELVIS),
    "a/p": (Region.UPPER_ABDOMEN, Region.PELVIS),
    "kub": (Region.UPPER_ABDOMEN, Region.PELVIS),
}
"""Words for regions; a list or range of them covers from the first of the topmost to the last of the lowest."""
UPPER_LIMITS: dict[str, Region] = {
    r"thoracic inlet|(?:lung )?api(?:ces|x)|skull base|neck|chest|thorax": Region.CHEST,
    r"(?:hemi)?diaphragms?|domes? of (?:the )?(?:diaphragm|liver)|liver dome|lung bases": Region.UPPER_ABDOMEN,
}
LOWER_LIMITS: dict[str, Region] = {
    r"lung bases|costophrenic angles|(?:hemi)?diaphragms?": Region.CHEST,
    r"adrenals|adrenal glands|upper abdomen|kidneys": Region.UPPER_ABDOMEN,
    r"iliac crests?|aortic bifurcation": Region.ABDOMEN,
    r"symphysis(?: pubis)?|pubic symphysis|femoral heads|lesser trochanters?|mid-?thighs?|pelvic floor|pelvis": (
        Region.PELVIS
    ),
}
"""Patterns of the landmarks that a scan begins and ends at, and the first and last region between them."""
ABSENT_ORGANS: dict[str, tuple[str, ...]] = {
    "gallbladder": ("cholecystectomy",),
    "left kidney": ("left nephrectomy",),
    "right kidney": ("right nephrectomy",),
    "uterus": ("hysterectomy",),
    "spleen": ("splenectomy",),
}
"""Organs that a prompt can call missing, and the operations that remove them."""
