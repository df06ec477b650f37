"""The parts of a prompt as phrases: each says one statement or a group of them in one of several ways."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from guidegen.pair.vocabulary import ABSENT_ORGANS, HISTOLOGIES, LOBES, SITES, STANDALONE
from guidegen.statements import Phase, Region, Sex, Statements

Choose = Callable[[Sequence[str]], str]


@dataclass
class Phrases:
    """Words the parts; `choose` picks among equivalent wordings, the first of which is the canonical one."""

    s: Statements
    choose: Choose

    def word_person(self) -> str:
        age, sex = self.s.age, self.s.sex
        if age is None and sex is None:
            return ""
        noun = {Sex.FEMALE: ("woman", "female", "female patient", "lady"), Sex.MALE: ("man", "male", "male patient")}
        if age is None:
            return self.choose(noun[sex]) if sex else ""
        if sex is None:
            return self.choose((f"{age}-year-old patient", f"patient aged {age}", f"{age} y/o patient"))
        letter = "F" if sex is Sex.FEMALE else "M"
        words = self.choose(noun[sex])
        return self.choose(
            (
                f"{age}-year-old {noun[sex][0]}",
                f"{age}-year-old {words}",
                f"{age} year old {words}",
                f"{age} yo {words}",
                f"{age} y/o {letter}",
                f"{age}{letter}",
                f"{letter}/{age}",
                f"{words} aged {age}",
                f"{words} ({age} years)",
                f"{words} of {age} years",
            )
        )

    def word_disease(self) -> str:
        """Diagnosis and stage; the place is said here only where no mass says it."""
        s, parts = self.s, []
        place = "" if s.tumour else self.word_place()
        if s.histology or place:
            parts.append(self._word_histology(place))
        if s.stage:
            arabic = _spell_stage(s.stage)
            parts.append(self.choose((f"stage {s.stage}", f"AJCC stage {s.stage}", f"stage {arabic}")))
        if tnm := [value for value in (s.t, s.n, s.m) if value]:
            parts.append(self.choose((" ".join(tnm), "".join(tnm), f"TNM {' '.join(tnm)}", f"({', '.join(tnm)})")))
        if s.tumour_size_mm is not None and not s.tumour:
            size = self._word_size(s.tumour_size_mm)
            parts.append(self.choose((f"{size} at pathology", f"pathological size {size}", f"{size} in the specimen")))
        return ", ".join(parts).replace(", (", " (")

    def _word_histology(self, place: str) -> str:
        histology = self.s.histology
        if not histology:
            return self.choose((f"cancer of the {place}", f"malignancy of the {place}", f"primary: {place}"))
        name = self.choose((histology, histology, *HISTOLOGIES.get(histology, ())))
        if not place:
            return name
        return self.choose((f"{name} of the {place}", f"{name} of the {place}", f"{name}, {place}"))

    def word_place(self) -> str:
        """Organ, part and side as a noun phrase without article."""
        site, part, side = self.s.site, self.s.subsite, self.s.side
        if not site:
            return ""
        words = SITES.get(site)
        organ = site if not words else self.choose((site,))
        if words is None or not words.paired:
            side = None
        sided = f"{side.value} {organ}" if side else organ
        if not part:
            return sided
        if part in STANDALONE:
            return f"{side.value} {part}" if side else part
        options = [f"{part} of the {sided}"]
        if site == "lung" and side:
            options += [f"{side.value} {part} of the lung"]
            options += [short for short, meaning in LOBES.items() if meaning == (side.value, part)]
        if words and not side and " and " not in part and " " not in part:
            options.append(f"{words.adjective} {part}")
        return self.choose(options)

    def word_mass(self) -> str:
        """The mass that is seen, or that there is none."""
        s = self.s
        if s.tumour is None:
            return self._word_lone_side()
        if not s.tumour:
            lone = self._word_lone_side()
            nothing = self.choose(("no mass", "no visible tumour", "no focal lesion", "without a mass"))
            return f"{lone}, {nothing}" if lone else nothing
        noun = self.choose(("mass", "tumour", "lesion"))
        place, words = self.word_place(), SITES.get(s.site or "")
        sideways = s.side.value if s.side and not (words and words.paired) else ""
        sided = f"{sideways}-sided " if sideways else ""
        size = self._word_size(s.tumour_size_mm) if s.tumour_size_mm is not None else ""
        before = self.choose((size, size, size.replace(" ", "-")))
        options = [f"{before} {sided}{noun}{f' in the {place}' if place else ''}"]
        options.append(
            f"{sided}{noun}{f' of the {place}' if place else ''}{f' measuring {size}' if size else ''}",
        )
        if size:
            options.append(f"{sided}{noun}{f' in the {place}' if place else ''}, largest diameter {size}")
            options.append(f"{sided}{noun}{f' in the {place}' if place else ''} ({size})")
        if words and not s.subsite:
            side = f"{s.side.value} " if s.side and words.paired else ""
            options.append(f"{before} {sided}{side}{words.adjective} {noun}")
            options.append(f"{sided}{side}{words.adjective} {noun}{f' of {size}' if size else ''}")
        return self.choose([option.strip() for option in options])

    def _word_lone_side(self) -> str:
        """A side that no organ's name carries."""
        s = self.s
        words = SITES.get(s.site or "")
        if s.side is None or (words and words.paired):
            return ""
        return self.choose((f"{s.side.value}-sided disease", f"on the {s.side.value} side"))

    def _word_size(self, size_mm: float) -> str:
        size = round(size_mm)
        return self.choose((f"{_trim(size / 10)} cm", f"{_trim(size / 10)} cm", f"{size} mm", f"{size / 10:.1f} cm"))

    def word_scan(self) -> str:
        """Contrast phase and covered range."""
        region, after = self._word_coverage(), self._word_phase(PHASES_AFTER)
        short = self._shorten_coverage(region)
        if phase := self._word_phase(PHASES_BEFORE) if region else "":
            return self.choose(
                (
                    f"{phase} CT of the {region}",
                    f"CT {short}, {after}",
                    f"CT of the {region} ({after})",
                    f"{phase} CT covering the {region}",
                    f"{phase} scan from {region}" if " to " in region else f"{phase} scan of the {region}",
                )
            )
        if region:
            return self.choose(
                (f"CT of the {region}", f"CT {short}", f"CT covering the {region}", f"scan of the {region}")
            )
        if after:
            return self.choose((f"{self._word_phase(PHASES_BEFORE)} CT", f"CT, {after}", f"CT ({after})"))
        return ""

    def _word_phase(self, words: Mapping[Phase, Sequence[str]]) -> str:
        return self.choose(words[self.s.phase]) if self.s.phase else ""

    def _word_coverage(self) -> str:
        first, last = self.s.coverage_first, self.s.coverage_last
        if first is None or last is None:
            return ""
        return self.choose(COVERAGE_WORDS[first, last])

    def _shorten_coverage(self, region: str) -> str:
        """An abbreviation, as it stands behind `CT`; the region's words where there is none."""
        first, last = self.s.coverage_first, self.s.coverage_last
        if first is None or last is None:
            return region
        return self.choose((region, *COVERAGE_ABBREVIATIONS.get((first, last), ())))

    def word_absent(self) -> list[str]:
        phrases = []
        for organ in self.s.absent:
            operations = ABSENT_ORGANS.get(organ, ())
            options = [f"{organ} absent", f"absent {organ}", f"no {organ}", f"{organ} surgically removed"]
            options += [f"status post {name}" for name in operations] + [f"s/p {name}" for name in operations]
            options += [f"previous {name}" for name in operations]
            phrases.append(self.choose(options))
        return phrases

    def word_smoking(self) -> list[str]:
        words = {
            "never": ("never smoker", "never smoked", "non-smoker", "lifelong non-smoker"),
            "former": ("former smoker", "ex-smoker", "quit smoking", "stopped smoking"),
            "current": ("current smoker", "active smoker", "smoker"),
        }
        return [self.choose(words[self.s.smoking])] if self.s.smoking in words else []


PHASES_BEFORE: dict[Phase, tuple[str, ...]] = {
    Phase.NON_CONTRAST: ("non-contrast", "unenhanced", "noncontrast", "native"),
    Phase.ARTERIAL: ("arterial phase", "arterial-phase", "contrast-enhanced arterial phase"),
    Phase.PORTAL_VENOUS: ("portal venous phase", "portal-venous", "PV phase", "portovenous phase", "venous phase"),
    Phase.DELAYED: ("delayed phase", "delayed-phase", "delayed"),
}
"""Before `CT` or `scan`. What is stated is the phase: `late arterial` or `excretory` would say more than is known."""
PHASES_AFTER: dict[Phase, tuple[str, ...]] = {
    Phase.NON_CONTRAST: ("without contrast", "unenhanced", "non-contrast", "no contrast"),
    Phase.ARTERIAL: ("arterial phase", "in arterial phase", "contrast-enhanced, arterial phase"),
    Phase.PORTAL_VENOUS: ("portal venous phase", "in portal venous phase", "PV phase", "portovenous phase"),
    Phase.DELAYED: ("delayed phase", "in delayed phase", "delayed"),
}
"""Behind them."""
COVERAGE_ABBREVIATIONS: dict[tuple[Region, Region], tuple[str, ...]] = {
    (Region.CHEST, Region.PELVIS): ("C/A/P", "CAP"),
    (Region.UPPER_ABDOMEN, Region.PELVIS): ("A/P",),
}
COVERAGE_WORDS: dict[tuple[Region, Region], tuple[str, ...]] = {
    (Region.CHEST, Region.CHEST): ("chest", "thorax"),
    (Region.CHEST, Region.UPPER_ABDOMEN): (
        "chest to upper abdomen",
        "chest and upper abdomen",
        "thorax to upper abdomen",
    ),
    (Region.CHEST, Region.ABDOMEN): ("chest and abdomen", "chest to abdomen", "thorax and abdomen"),
    (Region.CHEST, Region.PELVIS): (
        *(
            "chest to pelvis",
            "chest, abdomen and pelvis",
            "thorax to pelvis",
            "chest through pelvis",
            "chest/abdomen/pelvis",
        ),
    ),
    (Region.UPPER_ABDOMEN, Region.UPPER_ABDOMEN): ("upper abdomen",),
    (Region.UPPER_ABDOMEN, Region.ABDOMEN): ("abdomen", "whole abdomen"),
    (Region.UPPER_ABDOMEN, Region.PELVIS): (
        *("abdomen and pelvis", "abdomen to pelvis", "upper abdomen to pelvis", "abdomen/pelvis"),
    ),
    (Region.ABDOMEN, Region.ABDOMEN): ("lower abdomen", "mid-abdomen"),
    (Region.ABDOMEN, Region.PELVIS): ("lower abdomen and pelvis", "lower abdomen to pelvis"),
    (Region.PELVIS, Region.PELVIS): ("pelvis",),
}


def _trim(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _spell_stage(stage: str) -> str:
    """`IIIB` → `3B`; other spellings stay."""
    roman = {"IV": "4", "III": "3", "II": "2", "I": "1"}
    for numeral, digit in roman.items():
        rest = stage.removeprefix(numeral)
        if rest != stage and rest in ("", "A", "B", "C", "A1", "A2", "A3"):
            return digit + rest
    return stage
