"""One line of `guidegen doctor`."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """What was looked at, what was found, and what to do about it."""

    name: str
    level: Level
    found: str
    advice: str = ""
    """Empty where the level is `ok`."""


def ok(name: str, found: str) -> Check:
    """Return a check that found what it should."""
    return Check(name, "ok", found)


def warn(name: str, found: str, advice: str) -> Check:
    """Return a check that found something which will matter to some runs."""
    return Check(name, "warning", found, advice)


def fail(name: str, found: str, advice: str) -> Check:
    """Return a check that found something which stops a run."""
    return Check(name, "problem", found, advice)
