"""Sentences of a pathology report: split, kept only if they can identify nobody, and read.

A report is summarised by choosing sentences of its own; nothing is reworded. A sentence is kept only if every word of
it is in a list of clinical words and every number in it is a size, a stage or a grade: names, dates and accession
numbers cannot pass. Of the sentences that are kept, those that deny, doubt, or speak of something else than the primary
tumour are not read.
"""

import re
from dataclasses import dataclass
from typing import Any

from guidegen.pair import patterns
from guidegen.pair.parse import read_statements
from guidegen.pair.report_words import REPORT_WORDS
from guidegen.pair.vocabulary import HISTOLOGIES, READ_HISTOLOGIES

_BREAK = re.compile(r"(?<=[.;!?])\s+(?=[A-Z(\[-])|\n(?!\s*(?:[a-z(]|\d[\d.]*\s*(?:x|cm|mm)\b))")
"""A sentence ends at its full stop, or with its line unless the next goes on in small letters, a bracket or a size."""
_LABEL = re.compile(r"^(?:[A-Z0-9]{1,2}[.:)]|[-*•])\s*")
"""`A.`, `2)` or a dash: the number of a specimen or an item of a list."""
_NUMBER = r"\d{1,3}(?:[.,]\d{1,2})?"
_UNIT = r"(?:mm|cm|centimet(?:er|re)s?|millimet(?:er|re)s?)"
_HARMLESS = re.compile(
    rf"{_NUMBER}(?:\s*{_UNIT})?(?:\s*(?:x|×|by)\s*{_NUMBER}(?:\s*{_UNIT})?)*\s*-?{_UNIT}\b"
    r"|\b[cpyr]{0,2}T(?:[0-4][a-d]?|is)[\s,]*(?:[cpyr]{0,2}N(?:[0-3][a-c]?|[Xx])[\s,]*)?(?:[cpyr]{0,2}M(?:[01][a-d]?|[Xx]))?"
    r"(?![A-Za-z0-9])"
    r"|\b[cpyr]{0,2}[NM](?:[0-3][a-c]?|[Xx])(?![A-Za-z0-9])"
    r"|\bstage[\s:]*(?:IV|III|II|I|[0-4])[\s-]?[ABC]?[123]?(?![A-Za-z0-9])"
    r"|\bgrade[\s:]*(?:IV|III|II|I|G?[1-4])(?:\s*(?:of|/|out of)\s*[34])?(?![A-Za-z0-9])"
    r"|\bG[1-4](?![A-Za-z0-9])",
    re.I,
)
"""Numbers that identify nobody."""
_DOUBT = re.compile(
    r"\b(?:no|not|without|negative|neither|nor|free of|absence|absent|cannot|rule[ds]? out|versus|vs|suspicious"
    r"|suspected|possibl[ey]|probabl[ey]|question(?:able)?|differential|favou?r(?:s|ed)?|suggest\w*|consistent with"
    r"|history|previous|prior|if|may|might|could|uncertain|indeterminate|unclear|outside|family|recurrent|benign)\b|\?",
    re.I,
)
_NOT_THE_TUMOUR = re.compile(
    r"\b(?:margins?|nodes?|nodal|metasta\w*|satellite|adenoma\w*|cysts?|specimen|received|labell?ed|weigh\w*|distance"
    r"|from the|non[- ](?:tumou?r\w*|neoplastic))\b",
    re.I,
)
_SPREAD = re.compile(r"\b(?:invad\w*|invasion|extend\w*|extension|extent|involv\w*|into)\b", re.I)
"""A sentence on where the tumour grew to names other places than its own."""
_OTHER_STAGE = re.compile(r"\b(?:fibrosis|cirrho\w*|hepatitis|inflammat\w*|out of)\b", re.I)
_TUMOUR = re.compile(rf"{patterns.MASS.pattern}|\b(?:carcinoma|adenocarcinoma|malignan\w*|cancer)\b", re.I)
_KNOWN = sorted({*HISTOLOGIES, *READ_HISTOLOGIES.values()}, key=len, reverse=True)


@dataclass(frozen=True)
class SelectedSentence:
    """One sentence of a report, word by word as it stands there, and what it states."""

    number: int
    """Place in the report, from 1."""
    text: str
    statements: dict[str, Any]
    """Attributes of `guidegen.pair.record.PatientRecord`: histology, site, subsite, side, stage, t, n, m, size_mm."""


def split_sentences(report: str) -> list[str]:
    """Return the sentences of a report; line breaks within a sentence become blanks."""
    return [text for part in _BREAK.split(report) if (text := " ".join(part.split()))]


def is_anonymous(sentence: str) -> bool:
    """Tell whether a sentence holds nothing but clinical words, sizes, stages and grades."""
    rest = _HARMLESS.sub(" ", _LABEL.sub("", sentence))
    words = re.findall(r"[^\s,;:.()\[\]\"&+/–-]+", rest)
    return all(word.lower() in REPORT_WORDS for word in words)


def select_sentences(report: str) -> list[SelectedSentence]:
    """Return the sentences of a report that state something of the primary tumour and can identify nobody."""
    found = []
    for number, sentence in enumerate(split_sentences(report), 1):
        if is_anonymous(sentence) and not _DOUBT.search(sentence):
            statements = _read_sentence(_LABEL.sub("", sentence))
            if statements:
                found.append(SelectedSentence(number, sentence, statements))
    return found


def _read_sentence(sentence: str) -> dict[str, Any]:
    read = read_statements(re.sub(r"(?<=[\dabcds])(?=[cpyr]{0,2}[NM][0-3Xx])", " ", sentence))
    stated: dict[str, Any] = {}
    if re.search(r"\b(?:stage|staging|AJCC|TNM|pTNM|[cpyr]T[0-4])", sentence):
        stated |= {name: value for name in ("t", "n", "m") if (value := getattr(read, name)) and read.t}
    if read.stage and not _OTHER_STAGE.search(sentence):
        stated["stage"] = read.stage
    if _TUMOUR.search(sentence) and not _NOT_THE_TUMOUR.search(sentence):
        stated["histology"] = next((name for name in _KNOWN if name in (read.histology or "")), None)
        stated["size_mm"] = read.tumour_size_mm
        if not _SPREAD.search(sentence):
            stated |= {"site": read.site, "subsite": read.subsite, "side": read.side}
    return {name: value for name, value in stated.items() if value is not None}
