"""Facts come from the header's own words; what it does not say stays empty."""

import pytest
from hand_made_ct import make_ct

from guidegen.convert.facts import read_age, read_facts, read_phase
from guidegen.convert.phases import clean_agent, find_phase


@pytest.mark.parametrize(
    ("text", "years"),
    [("076Y", 76), ("018M", 1), ("000Y", None), ("", None), ("76", None), ("999Y", None), ("104W", 1), ("030D", 0)],
)
def test_age(text: str, years: int | None) -> None:
    assert read_age(text) == years


@pytest.mark.parametrize(
    ("text", "phase"),
    [
        ("CHEST/ABD/PEL PORTAL VENOUS 5.0", "portal venous"),
        ("ABD VENOUS PHASE", "portal venous"),
        ("Abd_ART_3mm", "arterial"),
        ("LATE ARTERIAL 2.5", "arterial"),
        ("3 MIN DELAY", "delayed"),
        ("EXCRETORY", "delayed"),
        ("NON-CONTRAST", "non-contrast"),
        ("CHEST W/O", "non-contrast"),
        ("AP WITHOUT CONTRAST", "non-contrast"),
        ("ABD W/O & W", None),
        ("ABD WITHOUT AND WITH", None),
        ("arterial and venous", None),
        ("Recon 2: Helical 5's", None),
        ("ARTIFACT REDUCTION", None),
        ("NONE", None),
        ("PARTIAL", None),
        ("", None),
    ],
)
def test_phase_is_stated_only_where_one_is_named(text: str, phase: str | None) -> None:
    assert find_phase(text) == phase


@pytest.mark.parametrize(
    ("text", "agent"), [("", ""), ("NONE", "none"), ("No contrast", "none"), (" Iohexol  350 ", "Iohexol 350")]
)
def test_agent(text: str, agent: str) -> None:
    assert clean_agent(text) == agent


def test_contradiction_gives_no_phase() -> None:
    header = make_ct(1)[0]
    header.SeriesDescription, header.ContrastBolusAgent = "ABD NON-CONTRAST", "Iohexol"
    assert read_phase(header) == (None, "")


def test_empty_header_states_nothing() -> None:
    header = make_ct(1)[0]
    for keyword in ("PatientSex", "PatientAge", "KVP", "Manufacturer", "SeriesDescription", "SliceThickness"):
        delattr(header, keyword)
    facts = read_facts(header)
    assert {name for name, value in facts.items() if value not in (None, "")} == {"transfer_syntax"}
