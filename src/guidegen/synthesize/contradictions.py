"""What cannot be true of one patient and one scan at the same time."""

from guidegen.statements import Region, Sex, Statements

_TRUNK = tuple(Region)
REGIONS_OF_SITE: dict[str, tuple[Region, ...]] = {
    "lung": (Region.CHEST,),
    "oesophagus": (Region.CHEST, Region.UPPER_ABDOMEN),
    "liver": (Region.UPPER_ABDOMEN,),
    "stomach": (Region.UPPER_ABDOMEN,),
    "pancreas": (Region.UPPER_ABDOMEN,),
    "spleen": (Region.UPPER_ABDOMEN,),
    "adrenal gland": (Region.UPPER_ABDOMEN,),
    "duodenum": (Region.UPPER_ABDOMEN,),
    "kidney": (Region.UPPER_ABDOMEN, Region.ABDOMEN),
    "colon": (Region.UPPER_ABDOMEN, Region.ABDOMEN, Region.PELVIS),
    "small bowel": (Region.UPPER_ABDOMEN, Region.ABDOMEN, Region.PELVIS),
    "rectum": (Region.PELVIS,),
    "urinary bladder": (Region.PELVIS,),
    "ovary": (Region.PELVIS,),
    "uterus": (Region.PELVIS,),
    "prostate": (Region.PELVIS,),
}
"""Regions of the trunk that an organ lies in."""
SEX_OF_SITE = {"ovary": Sex.FEMALE, "uterus": Sex.FEMALE, "prostate": Sex.MALE}


def find_contradictions(said: Statements, margin: int = 1) -> list[str]:
    """Return what a prompt says against itself, in words; nothing where it can be true.

    Args:
        said: the prompt's statements.
        margin: how many regions beyond the covered range an organ may lie and still be partly in the scan: a scan of
            the chest shows the top of the liver.
    """
    found = []
    place = " ".join(filter(None, (said.side, said.site)))
    both = said.site == "kidney" and not said.side and {"left kidney", "right kidney"} <= set(said.absent)
    if said.tumour and (both or {place, said.site} & set(said.absent)):
        found.append(f"the {place} is said to be absent and to hold a mass")
    for organ in dict.fromkeys((said.site, *said.absent)):
        sex = SEX_OF_SITE.get(organ or "")
        if sex and said.sex and said.sex is not sex:
            found.append(f"a {said.sex} patient has no {organ}")
    if said.tumour and said.coverage_first and said.coverage_last and said.site in REGIONS_OF_SITE:
        first, last = _TRUNK.index(said.coverage_first) - margin, _TRUNK.index(said.coverage_last) + margin
        if not any(first <= _TRUNK.index(region) <= last for region in REGIONS_OF_SITE[said.site]):
            covered = name_coverage(said.coverage_first, said.coverage_last)
            found.append(f"a mass in the {said.site} cannot be seen on a CT of the {covered}")
    return found


def name_coverage(first: Region, last: Region) -> str:
    """Return a covered range in words: `chest`, `chest to pelvis`."""
    return str(first) if first == last else f"{first} to {last}"
