"""Statements of every kind, drawn at random."""

from hypothesis import strategies as st

from guidegen.pair.phrases import COVERAGE_WORDS
from guidegen.pair.vocabulary import ABSENT_ORGANS, HISTOLOGIES, IMPLIED_SITES, SITES, SUBSITES
from guidegen.statements import Phase, Sex, Side, Statements

OTHER_HISTOLOGIES = ("basaloid squamous cell carcinoma", "clear cell adenocarcinoma", "adenosquamous carcinoma")
STAGES = ("0", "I", "IA", "IA3", "IB", "II", "IIB", "III", "IIIA", "IIIC", "IV", "IVB")


@st.composite
def draw_statements(draw: st.DrawFn) -> Statements:
    histology = draw(st.none() | st.sampled_from([*HISTOLOGIES, *OTHER_HISTOLOGIES]))
    implied = next((s for words, s in IMPLIED_SITES.items() if histology and words in histology), None)
    site = implied or draw(st.none() | st.sampled_from(list(SITES)))
    tumour = draw(st.none() | st.booleans())
    size = draw(st.none() | st.integers(2, 250)) if tumour is not False else None
    first, last = draw(st.just((None, None)) | st.sampled_from(list(COVERAGE_WORDS)))
    return Statements(
        age=draw(st.none() | st.integers(1, 104)),
        sex=draw(st.none() | st.sampled_from(Sex)),
        site=site,
        subsite=draw(st.none() | st.sampled_from(SUBSITES[site])) if site in SUBSITES else None,
        side=draw(st.none() | st.sampled_from(Side)),
        histology=histology,
        stage=draw(st.none() | st.sampled_from(STAGES)),
        t=draw(st.none() | st.sampled_from(["T1", "T1a", "pT2", "T3b", "cT4"])),
        n=draw(st.none() | st.sampled_from(["N0", "pN1", "N2b"])),
        m=draw(st.none() | st.sampled_from(["M0", "pM0", "M1a"])),
        tumour=tumour,
        tumour_size_mm=float(size) if size else None,
        phase=draw(st.none() | st.sampled_from(Phase)),
        coverage_first=first,
        coverage_last=last,
        absent=tuple(organ for organ in ABSENT_ORGANS if draw(st.booleans())),
        smoking=draw(st.none() | st.sampled_from(["never", "former", "current"])),
    )
