"""Statements from free text: what a clinician's sentence says about the scan that is wanted.

The parser reads every wording of `guidegen.pair.write` and ordinary clinical English besides. It works attribute by
attribute; what one attribute has read is blanked, so that the next does not read it again ("no gallbladder" names no
site, "upper lobe" no region). What it does not understand it leaves out.
"""

import re

from guidegen.pair import patterns
from guidegen.pair.spoken import spell_digits
from guidegen.pair.vocabulary import (
    IMPLIED_SITES,
    LOBES,
    LOWER_LIMITS,
    READ_HISTOLOGIES,
    REGION_WORDS,
    UPPER_LIMITS,
)
from guidegen.statements import Phase, Region, Sex, Side, Statements

ROMAN = {"1": "I", "2": "II", "3": "III", "4": "IV"}


def read_statements(text: str) -> Statements:
    """Return what a free text states.

    Args:
        text: English, any order, British or American spelling, units in mm or cm, numbers in digits or words.

    Returns:
        Statements; what the text does not say is None. Sizes are whole millimetres.
    """
    return _Reader(text).read()


class _Reader:
    """Reads one text; `text` has what was already understood blanked out."""

    def __init__(self, text: str) -> None:
        self.text = spell_digits(re.sub(r"[‐-―−]", "-", " ".join(text.split())))

    def read(self) -> Statements:
        found: dict[str, object] = {}
        limits = self._read_limits()
        while self._take(patterns.NORMAL):
            pass
        found["absent"] = self._read_absent()
        while self._take(patterns.OPERATION):
            pass
        found["smoking"] = self._read_smoking()
        found["stage"] = self._read_stage()
        found |= {key: self._take(pattern, "value") for key, pattern in patterns.TNM.items()}
        found["phase"] = self._read_phase()
        negated = bool(self._take(patterns.NEGATED_MASS))
        size, pathology = self._read_size()
        found["age"], found["sex"] = self._read_person()
        histology, implied = self._read_histology()
        mass = self._take(patterns.MASS) is not None
        found["histology"] = histology
        found["tumour"] = False if negated and not mass else (True if mass or (size and not pathology) else None)
        found["tumour_size_mm"] = size
        found |= self._read_place(implied)
        found["coverage_first"], found["coverage_last"] = limits or self._read_coverage()
        return Statements.model_validate(found)

    def _take(self, pattern: re.Pattern[str], group: str = "") -> str | None:
        """Return the first match (or its named group) and blank the match; None where there is none."""
        match = pattern.search(self.text)
        if not match:
            return None
        self._blank(match)
        return match[group] if group else match[0]

    def _blank(self, match: re.Match[str], mark: str = " ") -> None:
        self.text = self.text[: match.start()] + mark.center(match.end() - match.start()) + self.text[match.end() :]

    def _read_absent(self) -> tuple[str, ...]:
        found = []
        for organ, pattern in patterns.ABSENT.items():
            while match := pattern.search(self.text):
                partial = self.text[max(match.start() - 12, 0) : match.start()].lower()
                if organ not in found and "partial" not in partial:
                    found.append(organ)
                self._blank(match)
        return tuple(found)

    def _read_smoking(self) -> str | None:
        for status, pattern in patterns.SMOKING:
            if self._take(pattern):
                return status
        return None

    def _read_stage(self) -> str | None:
        match = patterns.STAGE.search(self.text)
        if not match:
            return None
        self._blank(match)
        numeral = ROMAN.get(match["numeral"], match["numeral"].upper())
        return numeral + (match["letter"] or "").upper()

    def _read_phase(self) -> Phase | None:
        for phase, pattern in patterns.PHASES:
            if self._take(pattern):
                return phase
        return None

    def _read_size(self) -> tuple[float | None, bool]:
        """Largest size in mm, and whether it is said to be a pathologist's."""
        best: tuple[float, bool] | None = None
        for match in list(patterns.SIZE.finditer(self.text)):
            if self._belongs_elsewhere(match):
                self._blank(match)
                continue
            values = [float(v.replace(",", ".")) for v in re.findall(patterns.NUMBER, match["first"] + match["more"])]
            scale = 10.0 if match["unit"].lower().startswith("c") else 1.0
            around = self.text[max(match.start() - 22, 0) : match.end() + 18]
            size = float(round(max(values) * scale))
            if best is None or size > best[0]:
                best = size, bool(patterns.PATHOLOGY.search(around))
            self._blank(match)
        return best or (None, False)

    def _belongs_elsewhere(self, size: re.Match[str]) -> bool:
        """Tell whether a size is a distance, or that of a stone, cyst, node or the like."""
        if patterns.OTHER_AFTER.match(self.text, size.end()):
            return True
        if re.match(r"[\s-]*(?:[a-z-]+\s+){0,3}?" + patterns.MASS.pattern, self.text[size.end() :], re.I):
            return False
        before = list(patterns.THINGS.finditer(re.split(r"[.;,]\s", self.text[: size.start()])[-1]))
        return bool(before) and before[-1]["other"] is not None

    def _read_person(self) -> tuple[int | None, Sex | None]:
        age, letter = None, ""
        female, male = patterns.FEMALE.search(self.text), patterns.MALE.search(self.text)
        for pattern in patterns.AGE:
            match = pattern.search(self.text)
            if match and 0 < (years := int(match["age"])) < 120:
                age = years
                letter = match[0][0] if match[0][0] in "MF" and match[0][1:].isdigit() else ""
                self._blank(match, patterns.AGE_MARK)
                break
        if female or male:
            letter = "F" if female and (not male or female.start() < male.start()) else "M"
        elif not letter and (match := patterns.SEX_LETTER.search(self.text)):
            letter = match["sex"] or match["after"]
            self._blank(match)
        self.text = self.text.replace(patterns.AGE_MARK, " ")
        return age, {"F": Sex.FEMALE, "M": Sex.MALE}.get(letter)

    def _read_histology(self) -> tuple[str | None, str | None]:
        """Histology, and the site that its words leave no doubt about."""
        matches: list[tuple[re.Match[str], str]]
        matches = [(match, name) for words, name in patterns.HISTOLOGY_PATTERNS if (match := words.search(self.text))]
        if general := self._find_cancer():
            matches.append((general, _tidy_histology(general[0])))
        if not matches:
            return None, next((site for words, site in IMPLIED_SITES.items() if words in self.text.lower()), None)
        # The longest wording wins: "clear cell renal cell carcinoma" over "renal cell carcinoma".
        match, wording = max(matches, key=lambda item: (item[0].end() - item[0].start(), -item[0].start()))
        histology: str = READ_HISTOLOGIES.get(wording, wording)
        self._blank(match)
        return histology, next((site for words, site in IMPLIED_SITES.items() if words in histology), None)

    def _find_cancer(self) -> re.Match[str] | None:
        """The words up to `carcinoma` and its like, from behind the last word that cannot belong to a histology."""
        match = patterns.CANCER.search(self.text)
        if not match:
            return None
        start = match.end()
        for word in reversed(list(re.finditer(r"\S+", match[0]))):
            if word[0].lower().strip(",;.") in patterns.NO_HISTOLOGY | patterns.SITE_WORDS:
                break
            start = match.start() + word.start()
        return re.compile(re.escape(self.text[start : match.end()])).match(self.text, start)

    def _read_place(self, implied: str | None) -> dict[str, object]:
        side, part, site = self._read_lobe()
        if site is None:
            site, part = self._read_part()
        if site is None:
            site = self._read_site()
        match = patterns.SIDE.search(self.text)
        if match and side is None:
            side = match["side"].lower()
            self._blank(match)
        return {"site": site or implied, "subsite": part, "side": Side(side) if side else None}

    def _read_lobe(self) -> tuple[str | None, str | None, str | None]:
        for short, (side, lobe) in LOBES.items():
            if self._take(re.compile(rf"\b{short}\b")):
                self._take(re.compile(r"\b(?:lung|pulmonary)\b", re.I))
                return side, lobe, "lung"
        return None, None, None

    def _read_part(self) -> tuple[str | None, str | None]:
        """Organ and part that are named first, from a part that names its organ or stands with it."""
        matches = [(pattern.search(self.text), site, part) for site, part, pattern in patterns.PART_PATTERNS]
        found = [(match.start(), -match.end(), site, part, match) for match, site, part in matches if match]
        if not found:
            return None, None
        *_, site, part, match = min(found, key=lambda item: item[:2])
        self._blank(match, (match["side"] or match["own_side"] or "").strip())
        return site, part

    def _read_site(self) -> str | None:
        """The organ named first, without those that only say where the scan lies."""
        matches = [(site, pattern.search(self.text)) for site, pattern in patterns.SITE_PATTERNS.items()]
        found = [(match.start(), match.start() - match.end(), site, match) for site, match in matches if match]
        if not found:
            return None
        *_, site, match = min(found, key=lambda item: item[:2])
        self._blank(match)
        return site

    def _read_limits(self) -> tuple[Region, Region] | None:
        """A covered range between landmarks, whose organs are no sites."""
        match = patterns.LANDMARKS.search(self.text)
        if not match:
            return None
        self._blank(match)
        ends = zip((UPPER_LIMITS, LOWER_LIMITS), (match["first"], match["last"]), strict=True)
        first, last = (next(r for p, r in limits.items() if re.fullmatch(p, text, re.I)) for limits, text in ends)
        return first, last

    def _read_coverage(self) -> tuple[Region | None, Region | None]:
        best: list[tuple[Region, Region]] = []
        for match in patterns.REGIONS.finditer(self.text):
            found = [REGION_WORDS[m[0].lower()] for m in re.finditer(patterns.REGION, match[0], re.I)]
            best = max(best, found, key=len)
        order = list(Region)
        regions = sorted((region for pair in best for region in pair), key=order.index)
        return (regions[0], regions[-1]) if regions else (None, None)


def _tidy_histology(text: str) -> str:
    return " ".join(text.lower().strip(" ,;.").split())
