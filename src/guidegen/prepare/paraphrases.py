"""Whether the text encoder knows a case in other words: how near its wordings lie to each other and to other cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from guidegen.study import Study
from guidegen.tables import read_tsv


@dataclass(frozen=True)
class Paraphrases:
    """Cosine similarities of pooled prompts; a pair of the same case is two of its wordings."""

    wordings: int
    same_case: float
    """Mean similarity of two wordings of one case."""
    other_case: float
    """Mean similarity of wordings of two cases."""
    nearer: float
    """Share of triples (wording, other wording of its case, wording of another case) with the former nearer."""
    nearest: float
    """Share of wordings whose nearest neighbour is of their own case."""

    def __str__(self) -> str:
        return (
            f"{self.wordings} wordings: similarity {self.same_case:.3f} within a case, {self.other_case:.3f} between "
            f"cases; nearer to their own case in {self.nearer:.1%} of comparisons, nearest in {self.nearest:.1%}"
        )


def measure_paraphrases(cases: Sequence[str], states: Sequence[np.ndarray]) -> Paraphrases:
    """Compare the wordings of each case with those of the others.

    Args:
        cases: (N,) case of each wording; at least two cases, one of them with two wordings.
        states: (N,) token states (L, E) of each wording; their mean over tokens stands for the prompt.
    """
    vectors = np.stack([np.asarray(state, np.float32).mean(axis=0) for state in states])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similar = vectors @ vectors.T
    names = np.asarray(cases)
    own = names[:, None] == names[None]
    np.fill_diagonal(own, False)
    other = names[:, None] != names[None]
    nearer, nearest = [], []
    for row in np.flatnonzero(own.any(axis=1)):
        mine, theirs = similar[row, own[row]], np.sort(similar[row, other[row]])
        below = np.searchsorted(theirs, mine, "left") + np.searchsorted(theirs, mine, "right")
        nearer.append(below.mean() / (2 * len(theirs)))
        nearest.append(mine.max() > theirs[-1])
    return Paraphrases(
        len(names),
        float(similar[own].mean()),
        float(similar[other].mean()),
        float(np.mean(nearer)),
        float(np.mean(nearest)),
    )


def compare_wordings(study: Study) -> Paraphrases | None:
    """Compare the wordings of a prepared cohort; None where no case has two, or there is one case only."""
    from safetensors.numpy import load_file

    folder = study.root / "data" / "cohort" / "text"
    rows = read_tsv(folder / "prompts.tsv")
    states: Mapping[str, np.ndarray] = load_file(folder / "states.safetensors")
    cases = [row["case"] for row in rows]
    if len(set(cases)) < 2 or len(set(cases)) == len(cases):
        return None
    return measure_paraphrases(cases, [states[row["key"]] for row in rows])
