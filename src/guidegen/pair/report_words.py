"""The words that a sentence of a pathology report may consist of.

What is not in this list may be a name, a place or a code, so a sentence that holds it stays out of the study. Colours,
common surnames that are words (`Young`, `White`) and verbs of signing (`reviewed`, `dictated`) are left out on purpose.
"""

from guidegen.pair.vocabulary import HISTOLOGIES, MASS_NOUNS, READ_HISTOLOGIES, SITES, SUBSITES

_FUNCTION = """
a about absent adjacent all along also an and approximately are arising around as at be been between beyond both by
confined consistent consists demonstrates extending extends extension extent for forming from has have identified in
includes including into invades invading involved involves involving is it its least less limited located measure
measures measuring more most near occupying of on only or other over overlying present replacing seen shows
surrounding than that the there these this through throughout to under underlying up was were where which with within
"""
_PATHOLOGY = """
acinar adenoma adenomatous adenosquamous adipose ajcc anaplastic angiolymphatic anterior appearing architecture
arrangement background basaloid benign beta-catenin bile biliary blood body borders bronchioloalveolar cancer capsular
capsule carcinoma cartilage cavity cell cells cellular centimeter centimeters centimetre centimetres
cholangiocarcinoma chromophobe chronic circumscribed classification clear cm colectomy columnar component composed
connective conventional cortex cortical cystectomy cystic cytologic cytoplasm deep depth description desmoplasia
diagnosis diameter differentiated differentiation diffuse dimension dimensions discrete distal dome duct ductal
eosinophilic epithelial epithelium exophytic extracapsular extrahepatic extrapancreatic fat fatty features fibrous
final firm flexure focal focally follicular fuhrman gallbladder gastrectomy gland glandular grade greatest gross
growth head hemicolectomy hepatectomy hepatic hepatocellular high hilar hilum histologic histological histology
histopathologic hysterectomy ill-defined inferior infiltrates infiltrating infiltrative intermediate intraductal
intrahepatic invasion invasive keratinizing large largest lateral left lepidic lesion lesions lobar lobe lobectomy
lobes lobular low lower lumen lymphatic lymphovascular main malignancy malignant mass masses maximal maximum medial
median medulla medullary metaplasia microscopic microvascular middle minimum mixed mm moderate moderately mucin
mucinous mucosa multifocal multiple muscle muscularis neck necrosis necrotic neoplasm neoplastic nephrectomy
neuroendocrine nodular nodule nodules non non-keratinizing non-small nonkeratinizing not nuclear nuclei organ pancreas
pancreatectomy pancreatic pancreaticobiliary papillary parenchyma partial pathologic pathological pathology pattern
perinephric perineural peripancreatic perirenal peritoneum pleomorphic pleura pleural pM pN pneumonectomy pole polyp
polypoid poor poorly portal portion posterior primary process propria proximal pseudoglandular pseudopapillary pT pTNM
pylorus quadrant radical rectal renal resected resection retroperitoneal rhabdoid right rim ring sarcoma sarcomatoid
sclerosing sections segment segmental segmentectomy serosa serosal serous sheets sided signet simple single sinus site
size small smooth soft solid solitary spindle squamous stage staging stroma subcapsular submucosa submucosal subserosa
subtype superior surface synoptic tail tissue total trabecular transitional transmural tubular tumor tumors tumour
tumours two type types uncinate undifferentiated unifocal upper urothelial variant vascular vein venous vessel vessels
villous visceral wall wedge well well-circumscribed well-defined well-differentiated whipple widely
"""


def _split(*texts: str) -> set[str]:
    return {part for text in texts for part in text.lower().replace("-", " ").replace("/", " ").split()}


REPORT_WORDS = frozenset(
    _split(
        _FUNCTION,
        _PATHOLOGY,
        *(name for words in SITES.values() for name in (words.noun, words.adjective, *words.others)),
        *(part for parts in SUBSITES.values() for part in parts),
        *HISTOLOGIES,
        *READ_HISTOLOGIES,
        *MASS_NOUNS,
    )
)
"""In lower case; compounds are looked up part by part."""
