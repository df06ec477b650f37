"""Contrast phase and agent, as far as a header states them."""

import re

from guidegen.statements import Phase

PHASE_WORDS: tuple[tuple[Phase, re.Pattern[str]], ...] = (
    (
        Phase.NON_CONTRAST,
        re.compile(
            r"\bnon?[\s_-]*(?:contrast|con|enhanced)\b|\bunenhanced\b|\bwithout\b(?!\s*(?:and|&|/))|\bw/?o\b(?!\s*(?:and|&|/))"
            r"|\bnative\b|\bpre[\s_-]*contrast\b|\bplain\b",
            re.I,
        ),
    ),
    (
        Phase.ARTERIAL,
        re.compile(r"\b(?:late\s*|early\s*)?arterial\b|\bart\b|\bart(?=[\s_]*ph)|\bcorticomedullary\b", re.I),
    ),
    (Phase.PORTAL_VENOUS, re.compile(r"\bportal\b|\bportal[\s_-]*venous\b|\bvenous\b|\bven\b|\bpv(?:p|\b)", re.I)),
    (Phase.DELAYED, re.compile(r"\bdelay(?:ed|s)?\b|\bexcretory\b|\burographic\b|\bequilibrium\b", re.I)),
)
NO_AGENT = re.compile(r"^\W*(?:none?|no(?:\s*contrast)?|without|n/?a|0)?\W*$", re.I)


def find_phase(text: str) -> Phase | None:
    """Return the contrast phase that a description names; None where it names none or more than one."""
    found = {phase for phase, words in PHASE_WORDS if words.search(text.replace("_", " "))}
    return found.pop() if len(found) == 1 else None


def clean_agent(text: str) -> str:
    """Return a contrast agent as the header words it, `none` where it says that there was none, "" where empty."""
    text = " ".join(text.split())
    if not text:
        return ""
    return "none" if NO_AGENT.match(text) else text
