"""The regular expressions of the parser, built from the vocabulary."""

import re

from guidegen.pair.vocabulary import (
    ABSENT_ORGANS,
    HISTOLOGIES,
    LOWER_LIMITS,
    MASS_NOUNS,
    READ_HISTOLOGIES,
    REGION_WORDS,
    SITES,
    STANDALONE,
    SUBSITES,
    UPPER_LIMITS,
    SiteWords,
)
from guidegen.statements import Phase


def _join(*parts: str) -> str:
    return "|".join(parts)


NUMBER = r"\d+(?:[.,]\d+)?"
_UNIT = r"(?:mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?)"
SIZE = re.compile(
    rf"\b(?P<first>{NUMBER})(?P<more>(?:\s*{_UNIT}?\s*(?:x|×|by)\s*{NUMBER})*)[\s-]*(?P<unit>{_UNIT})\b"
    r"(?!\s*(?:slice|thick|section|recon|collim|interval|margin|gap))",
    re.I,
)
"""`3 cm`, `32-mm`, `3.1 x 2.5 cm`; not the thickness of slices."""
_OTHER_THINGS = (
    r"(?:stones?|calcul(?:us|i)|cysts?|(?:lymph\s+)?nodes?|lymphadenopathy|aneurysms?|thromb(?:us|i|osis)|effusions?"
    r"|stents?|collections?|abscess(?:es)?|h(?:a?e)matomas?|hernias?|granulomas?|ducts?(?!\s+carcinoma))"
)
OTHER_AFTER = re.compile(
    rf"\s*(?:(?:from|above|below|away|proximal|distal)\b"
    rf"|(?:(?!(?:with|in|of|and|at|on|from)\b)[a-z-]+\s+){{0,3}}?{_OTHER_THINGS}\b)",
    re.I,
)
"""Behind a size: it is a distance, or that of a thing that is no tumour (`4 mm stone`)."""
THINGS = re.compile(rf"\b(?:(?P<other>{_OTHER_THINGS})|{_join(*MASS_NOUNS)})\b", re.I)
"""Things that have a size; `other` ones are no tumours (`lymph node of 22 mm`)."""
PATHOLOGY = re.compile(r"patholog|specimen|resect(?:ed|ion)", re.I)
"""Words beside a size that make it a pathologist's."""

AGE = (
    re.compile(r"\b(?P<age>\d{1,3})[\s-]*(?:years?|yrs?)[\s-]*(?:old|of age)\b", re.I),
    re.compile(r"\b(?P<age>\d{1,3})[\s-]*(?:y\s*/\s*o\b|y\.?\s?o\.?(?=[\s,;.)]|$)|yo\b)", re.I),
    re.compile(r"\b(?:aged?|age of|age:)\s*:?\s*(?P<age>\d{1,3})\b(?!\s*(?:mm|cm))(?:\s*(?:years|yrs|y)\b)?", re.I),
    re.compile(
        r"(?<!for )(?<!past )(?<!last )\b(?P<age>\d{1,3})\s*(?:years|yrs|y)\b"
        r"(?!\s*(?:ago|of smoking|earlier|since|history))",
        re.I,
    ),
    re.compile(r"\b(?P<age>\d{1,3})[\s/-]?(?=[MF]\b)"),
    re.compile(r"(?<=\b[MF][/\s])(?P<age>\d{1,3})\b(?!\s*(?:mm|cm|\.\d))"),
    re.compile(r"\b[MF](?P<age>\d{2,3})\b"),
    re.compile(r"\b(?P<age>\d{2})\s+(?=(?:woman|man|female|male|lady|gentleman)\b)", re.I),
    re.compile(
        r"\b(?:woman|man|female|male|lady|gentleman),?\s+\(?(?P<age>\d{2})\b(?!\s*(?:mm|cm|x|×|by|[./]\d|pack))", re.I
    ),
)
FEMALE = re.compile(r"\b(?:woman|female|lady|girl|she|her)\b", re.I)
MALE = re.compile(r"\b(?:man|male|gentleman|boy|he|his)\b", re.I)
AGE_MARK = "@"
"""Stands in the text where an age was read; a letter beside it is a sex."""
SEX_LETTER = re.compile(rf"\b(?P<sex>[MF])\b(?=\s*/?\s*{AGE_MARK})|{AGE_MARK}[\s/,]*(?P<after>[MF])\b")

_CONTRAST = r"(?:iv\s+|intravenous\s+)?contrast"
_PHASE_WORDS: tuple[tuple[Phase, str], ...] = (
    (
        Phase.NON_CONTRAST,
        _join(
            r"non?[\s-]*(?:contrast|enhanced|con\b)(?:[\s-]?enhanced)?",
            r"un[\s-]?enhanced",
            rf"(?:without|w/o)\s+{_CONTRAST}",
            rf"no\s+{_CONTRAST}",
            r"native(?:\s+(?:phase|scan|ct))?(?!\s+(?:kidney|liver|pancreas))",
            r"nect\b",
            r"pre[\s-]contrast",
        ),
    ),
    (
        Phase.PORTAL_VENOUS,
        r"port(?:al|o)[\s-]*venous(?:[\s-]*phase)?|portal[\s-]phase|venous[\s-]phase|pvp?[\s-]phase|pvp\b",
    ),
    (
        Phase.ARTERIAL,
        r"(?:early\s+|late\s+)?arterial(?:[\s-]*phase)?(?!\s*(?:hyper|enhancement|disease|occl))|pancreatic[\s-]phase",
    ),
    (
        Phase.DELAYED,
        r"delayed(?:[\s-]*phase)?|(?:excretory|urographic)(?:[\s-]*phase)?|late[\s-]phase|equilibrium[\s-]phase",
    ),
)
PHASES = tuple(
    (phase, re.compile(rf"\b(?:contrast[\s-]enhanced\s+)?(?:in\s+(?:the\s+)?)?(?:{words})", re.I))
    for phase, words in _PHASE_WORDS
)

_MASSES = _join(*MASS_NOUNS)
MASS = re.compile(rf"\b(?:{_MASSES})\b", re.I)
NEGATED_MASS = re.compile(
    r"\b(?:no|without(?:\s+an?)?|negative for|free of|absence of)\s+"
    r"(?:evidence of\s+|sign of\s+|visible\s+|focal\s+|discrete\s+|suspicious\s+|an?\s+|any\s+|[a-z]+\s+){0,2}"
    rf"(?:{_MASSES})(?:\s+(?:or|and)\s+(?:{_MASSES}))*\b",
    re.I,
)
STAGE = re.compile(r"\bstage[\s:]*(?P<numeral>IV|III|II|I|0|[1-4])[\s-]?(?P<letter>[ABC][123]?)?\b", re.I)
_PREFIX = r"(?<![A-Za-z])(?P<value>[cpyr]{0,2}"
_END = r"(?=[\s,;.)(]|$"
TNM = {
    "t": re.compile(rf"{_PREFIX}T(?:[0-4][a-d]?|is)){_END}|[cpyr]{{0,2}}[NM][0-3])(?!\s*(?:vert|level|weight))"),
    "n": re.compile(rf"{_PREFIX}N[0-3][a-c]?){_END}|[cpyr]{{0,2}}M[01])"),
    "m": re.compile(rf"{_PREFIX}M[01][a-d]?){_END})"),
}
SMOKING = (
    (
        "never",
        re.compile(
            r"never[\s-]*(?:a\s+)?smok(?:er|ed|ing)|(?:lifelong\s+)?non[\s-]?smok(?:er|ing)"
            r"|no smoking history|has never smoked|denies smoking",
            re.I,
        ),
    ),
    (
        "former",
        re.compile(
            r"(?:former|previous|past|reformed)\s+(?:tobacco\s+)?smok(?:er|ing)|ex[\s-]?smoker|quit smoking"
            r"|stopped smoking|smoking history, stopped|used to smoke",
            re.I,
        ),
    ),
    (
        "current",
        re.compile(
            r"(?:current|active|heavy)\s+(?:tobacco\s+)?smoker|current(?:ly)? smok(?:er|ing|es)|\bsmoker|\bsmokes\b",
            re.I,
        ),
    ),
)
SIDE = re.compile(r"\b(?P<side>left|right)(?:[\s-]sided)?\b", re.I)

CANCER = re.compile(
    r"(?:[A-Za-z][A-Za-z/'-]*\s+){0,5}(?:adenocarcinoma|carcinoma|sarcoma|leiomyosarcoma|liposarcoma|cholangiocarcinoma"
    r"|lymphoma|melanoma|blastoma|mesothelioma|oncocytoma|angiomyolipoma|metastas[ie]s|cystadenocarcinoma"
    r"|carcinosarcoma|neuroendocrine (?:tumou?r|neoplasm)|stromal tumou?r)\b",
    re.I,
)
"""Words up to one that names a neoplasm."""
NO_HISTOLOGY = {
    *("with", "known", "of", "a", "an", "the", "and", "has", "having", "for", "from", "biopsy-proven", "proven", "new"),
    *("suspected", "history", "recurrent", "primary", "metastatic", "advanced", "locally", "left", "right", "patient"),
    *(
        "in",
        "to",
        "woman",
        "man",
        "female",
        "male",
        "lady",
        "dx",
        "diagnosis",
        "diagnosed",
        "smoker",
        "phase",
        "ct",
        "is",
    ),
    *("on", "shows", "years", "year-old", "old", "yo", "y/o", "aged", "mm", "cm", "which", "indication", "information"),
    *("clinical", "m", "f", "showing", "f/u", "follow-up", "large", "small", "side", "disease", "smoking", "stopped"),
    *(
        "removed",
        "absent",
        "history:",
        "scan",
        "staged",
        "resected",
        "left-sided",
        "right-sided",
        "uterus",
        "gallbladder",
        "caecal",
        "cecal",
        "sigmoid",
        "lobe",
    ),
    *(word for operations in ABSENT_ORGANS.values() for operation in operations for word in operation.split()),
    *REGION_WORDS,
}
"""Words before `carcinoma` and its like that end the histology."""


def name_site(words: SiteWords) -> str:
    """Return the pattern of an organ's names."""
    return _join(*(re.escape(name) for name in (words.noun, words.adjective, *words.others)))


_ORGAN = rf"(?:(?:left|right|both)\s+)?(?:gall[\s-]?bladder|{_join(*map(name_site, SITES.values()))})"
NORMAL = re.compile(
    r"\b(?:normal|unremarkable|healthy)\s+(?:left\s+|right\s+)?[a-z]+s?\b"
    rf"|\bincluding\s+(?:the\s+)?(?:{_ORGAN})\b|\b{_ORGAN}(?:\s*(?:,|,?\s+and)\s+(?:the\s+)?{_ORGAN})*"
    r"\s+(?:(?:is|are|appears?|looks?|remains?)\s+)?(?:normal|unremarkable|healthy)\b",
    re.I,
)
"""Organs that are mentioned because nothing is wrong with them: `normal kidneys`, `liver and spleen unremarkable`."""
OPERATION = re.compile(
    r"\b(?:(?:left|right)[\s-]+(?:[a-z]+\s+){0,2}?)?[a-z]+ectomy\b(?:[\s,]*\(?(?:on\s+the\s+)?(?:left|right)\b\)?)?",
    re.I,
)
"""An operation whose side is not that of the tumour: `right hemicolectomy`."""
HISTOLOGY_PATTERNS = tuple(
    (re.compile(rf"(?<![\w-]){re.escape(wording)}(?![\w-])", re.I), name)
    for name, wordings in [
        *((name, (name, *abbreviations)) for name, abbreviations in HISTOLOGIES.items()),
        *((name, (wording,)) for wording, name in READ_HISTOLOGIES.items()),
    ]
    for wording in wordings
)
"""Wordings of known histologies and what they are called in statements."""


def part_pattern(site: str, part: str) -> re.Pattern[str]:
    """Return the pattern of a part of an organ: beside the organ's name, or alone where it can stand so."""
    names = name_site(SITES[site])
    spelled = part.replace("cecum", "ca?ec(?:um|al)").replace("sigmoid colon", "sigmoid(?: colon)?")
    spelled = spelled.replace("rectosigmoid junction", "rectosigmoid(?: junction)?")
    beside = (
        rf"\b{spelled}\b(?:\s+(?:of|in)\s+(?:the\s+)?(?P<side>left\s+|right\s+)?|\s+)(?:{names})\b"
        rf"|\b(?:{names})\s*,?\s+(?:(?:of\s+|cancer\s+)?(?:in|on|at|of)\s+(?:the\s+)?(?P<own_side>left\s+|right\s+)?)?"
        rf"{spelled}\b"
    )
    if part in STANDALONE:
        beside += rf"|\b{spelled}\b"
    elif site in ("lung", "kidney"):
        beside += rf"|\b{spelled}\b(?!\s+of\s+the\s+(?:liver|thyroid|spleen))"
    return re.compile(beside, re.I)


PART_PATTERNS = tuple(
    (site, part, part_pattern(site, part))
    for site, parts in SUBSITES.items()
    for part in sorted(parts, key=len, reverse=True)
)
SITE_PATTERNS = {
    site: re.compile(
        rf"(?<!gall )(?<![\w-])(?:{name_site(words)})(?!\w)(?!\s+(?:protocol|window|failure|function))", re.I
    )
    for site, words in SITES.items()
}
SITE_WORDS = {
    word.lower()
    for words in SITES.values()
    for name in (words.noun, words.adjective, *words.others)
    for word in name.split()
} - {"small", "renal"}
"""Single words of organ names; `small cell` and `renal cell` belong to histologies."""


def absent_pattern(organ: str, operations: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of all ways to say that an organ is missing."""
    name = organ.replace("gallbladder", "gall[ -]?bladder")
    sided = [o.split() for o in operations if " " in o]
    done = [*operations, *(rf"{what}\s+\(?(?:on\s+the\s+)?{side}(?!\s+kidney)" for side, what in sided)]
    done += [rf"{side}\s+(?:radical|total)\s+{what}" for side, what in sided]
    said = r"(?:(?:status post|s/p|previous|prior|after|post|history of|had an?|underwent)\s+(?:an?\s+)?)?"
    gone = (
        r"(?:is\s+|has been\s+|was\s+)?(?:surgically\s+)?(?:absent|missing|removed|resected|(?:taken\s+)?out(?!\s+of))"
    )
    return re.compile(
        rf"\b(?:(?:no|absent|missing|without(?:\s+an?)?)\s+{name}(?!\s+(?:{_MASSES}|stone|disease))"
        rf"|{name}\s+{gone}|{said}(?:{_join(*done)}))\b",
        re.I,
    )


ABSENT = {organ: absent_pattern(organ, operations) for organ, operations in ABSENT_ORGANS.items()}
_REGION_NAMES = _join(*(re.escape(name) for name in sorted(REGION_WORDS, key=len, reverse=True)))
REGION = (
    rf"(?<!\w)(?:{_REGION_NAMES})(?!\w)"
    r"(?!\s+(?:pain|wall|wound|hernia|lymph|mass|tumou?r|lesion|node|surgery|discomfort|aorta|aortic))"
)
_BETWEEN = (
    r"(?:\s*(?:,?\s*and\s+(?:the\s+)?|,|/|&|\+|-|to\s+(?:the\s+)?|through\s+(?:the\s+)?|down\s+to\s+(?:the\s+)?"
    r"|plus|until|with)\s*|\s+)"
)
REGIONS = re.compile(rf"{REGION}(?:{_BETWEEN}(?:whole\s+|entire\s+)?{REGION})*", re.I)
"""One region word, or a list or range of them."""
LANDMARKS = re.compile(
    rf"(?:\bfrom\s+(?:the\s+)?)?\b(?P<first>{_join(*UPPER_LIMITS)})\s+(?:down\s+)?(?:to|through)\s+(?:the\s+)?"
    rf"(?:level of (?:the\s+)?)?(?P<last>{_join(*LOWER_LIMITS)})\b",
    re.I,
)
"""A range between landmarks: `from the diaphragm to the iliac crests`."""
