"""Prompts from statements: a seeded grammar that words one case the way different clinicians dictate."""

import numpy as np

from guidegen.pair.phrases import Choose, Phrases
from guidegen.seeds import derive_rng
from guidegen.statements import Statements


def write_prompt(statements: Statements, seed: int = 0, variant: int = 0) -> str:
    """Word statements as a prompt.

    Args:
        statements: what to say; everything in it is said and nothing else. `read_statements` gets it back.
        seed: `study.seed`, or any other number; ignored for the canonical wording.
        variant: 0 is the canonical wording; every other number is a wording of its own.

    Returns:
        The prompt; "" where nothing is stated.
    """
    if variant == 0:
        return _Writer(statements, lambda options: options[0], None).compose()
    rng = derive_rng(seed, "pair", "wording", statements.model_dump_json(), variant)
    return _Writer(statements, lambda options: options[int(rng.integers(len(options)))], rng).compose()


class _Writer:
    """Joins the phrases of one prompt in one of five styles; without `rng` in the canonical one."""

    def __init__(self, statements: Statements, choose: Choose, rng: np.random.Generator | None) -> None:
        self.phrases, self.choose, self.rng = Phrases(statements, choose), choose, rng

    def compose(self) -> str:
        say = self.phrases
        person, disease, mass = say.word_person(), say.word_disease(), say.word_mass()
        scan, others = say.word_scan(), [*say.word_absent(), *say.word_smoking()]
        style = 0 if self.rng is None else int(self.rng.integers(5))
        if style == 0:
            text = self._tell(person, disease, mass, scan, others)
        elif style == 1:
            text = self._list(person, disease, mass, scan, others)
        elif style == 2:
            text = self._request(person, disease, mass, scan, others)
        elif style == 3:
            text = self._report(person, disease, mass, scan, others)
        else:
            text = self._jot(person, disease, mass, scan, others)
        return text

    def _tell(self, person: str, disease: str, mass: str, scan: str, others: list[str]) -> str:
        """Sentences: `68-year-old woman with … . Portal venous phase CT of … .`"""
        subject = person or ("patient" if disease or mass else "")
        first = subject
        if disease:
            first += f" with {disease}"
        if mass:
            first += f", {mass}" if disease else f" with {mass}"
        return self._join([first, *self._mix([scan, *others], start=1 if self.rng is None else 0)])

    def _list(self, person: str, disease: str, mass: str, scan: str, others: list[str]) -> str:
        """Comma-separated, in any order of the medical parts."""
        parts = [part for part in [person, *self._mix([disease, mass, *others])] if part]
        first = ", ".join(parts)
        return self._join([first, scan] if self.choose(("last", "first")) == "last" else [scan, first])

    def _request(self, person: str, disease: str, mass: str, scan: str, others: list[str]) -> str:
        """The scan first, then the patient."""
        head = scan or ("CT" if person else "")
        if person:
            head += f" {self.choose(('in a', 'of a', 'for a'))} {person}" if _has_noun(person) else f", {person}"
        return self._join([head, *self._mix([disease, mass, *others])])

    def _report(self, person: str, disease: str, mass: str, scan: str, others: list[str]) -> str:
        """With the headings of a report."""
        indication = ", ".join(part for part in [person, disease, *others] if part)
        parts = []
        if indication:
            parts.append(f"{self.choose(('Indication', 'Clinical information', 'History'))}: {indication}")
        if scan:
            parts.append(f"{self.choose(('Technique', 'Examination'))}: {scan}")
        if mass:
            parts.append(f"{self.choose(('Findings', 'Finding'))}: {mass}")
        return self._join(parts, capital=False)

    def _jot(self, person: str, disease: str, mass: str, scan: str, others: list[str]) -> str:
        """Notes separated by semicolons, in any order."""
        return "; ".join(part for part in self._mix([person, disease, mass, scan, *others]) if part)

    def _mix(self, parts: list[str], start: int = 0) -> list[str]:
        kept = [part for part in parts if part]
        if self.rng is None or start:
            return kept
        return [kept[int(i)] for i in self.rng.permutation(len(kept))]

    def _join(self, parts: list[str], capital: bool = True) -> str:
        kept = [part for part in parts if part]
        return " ".join(f"{_capitalise(part) if capital else part}." for part in kept)


def _capitalise(part: str) -> str:
    """`pT2`, `ccRCC` and `s/p` keep their small letter."""
    word = part.split()[0]
    return part if "/" in word or not word[1:].islower() else part[0].upper() + part[1:]


def _has_noun(person: str) -> bool:
    return any(word in person.split() for word in ("woman", "man", "female", "male", "patient", "lady"))
