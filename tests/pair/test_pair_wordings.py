"""The grammar and the parser agree on all wordings, and the parser reads what people write."""

import pytest
from drawn_statements import draw_statements
from hypothesis import given, settings
from hypothesis import strategies as st

from guidegen.pair.parse import read_statements
from guidegen.pair.phrases import COVERAGE_WORDS
from guidegen.pair.write import write_prompt
from guidegen.statements import Phase, Sex, Side, Statements


@given(draw_statements(), st.integers(0, 400), st.integers(0, 3))
@settings(deadline=None, max_examples=600)
def test_every_wording_reads_back_as_what_was_stated(statements, variant, seed):
    assert read_statements(write_prompt(statements, seed, variant)) == statements


FULL = Statements(
    age=68,
    sex=Sex.FEMALE,
    site="kidney",
    side=Side.LEFT,
    histology="clear cell renal cell carcinoma",
    stage="III",
    tumour=True,
    tumour_size_mm=42.0,
    phase=Phase.PORTAL_VENOUS,
    coverage_first=next(iter(COVERAGE_WORDS))[0],
    coverage_last=list(COVERAGE_WORDS)[3][1],
    absent=("gallbladder",),
    smoking="former",
)


def test_wordings_differ_in_order_words_and_units():
    prompts = [write_prompt(FULL, 1, variant) for variant in range(60)]
    assert len(set(prompts)) == 60
    text = "\n".join(prompts)
    for words in ("4.2 cm", "42 mm", "ccRCC", "clear cell renal", "woman", "68F", "stage 3", "stage III", "PV phase"):
        assert words in text
    starts = {prompt.split()[0] for prompt in prompts}
    assert len(starts) > 12


def test_the_canonical_wording_does_not_depend_on_the_seed():
    assert write_prompt(FULL, 1, 0) == write_prompt(FULL, 2, 0)
    assert write_prompt(FULL, 1, 1) != write_prompt(FULL, 2, 1)
    assert write_prompt(FULL, 1, 0) == (
        "68-year-old woman with clear cell renal cell carcinoma, stage III, 4.2 cm mass in the left kidney. "
        "Portal venous phase CT of the chest to pelvis. Gallbladder absent. Former smoker."
    )


def test_nothing_stated_is_nothing_said():
    assert write_prompt(Statements(), 1, 0) == ""
    assert read_statements("") == Statements()


SENTENCES = {
    "68-year-old woman, 3 cm mass in the left kidney, portal venous phase, chest to pelvis": {
        "age": 68, "sex": "female", "site": "kidney", "side": "left", "tumour": True, "tumour_size_mm": 30,
        "phase": "portal venous", "coverage_first": "chest", "coverage_last": "pelvis",
    },
    "Abdominal CT, 70M, HCC segment 6, 4.5 x 3.2 cm, arterial phase": {
        "age": 70, "sex": "male", "site": "liver", "histology": "hepatocellular carcinoma", "tumour": True,
        "tumour_size_mm": 45, "phase": "arterial", "coverage_first": "upper abdomen", "coverage_last": "abdomen",
    },
    "CAP with contrast, 55yo F, known ccRCC right kidney s/p left nephrectomy": {
        "age": 55, "sex": "female", "site": "kidney", "side": "right", "absent": ["left kidney"],
        "histology": "clear cell renal cell carcinoma", "coverage_first": "chest", "coverage_last": "pelvis",
    },
    "Unenhanced CT thorax of a 45 year old male heavy smoker with a 12 mm nodule in the right upper lobe": {
        "age": 45, "sex": "male", "site": "lung", "subsite": "upper lobe", "side": "right", "tumour": True,
        "tumour_size_mm": 12, "phase": "non-contrast", "coverage_first": "chest", "coverage_last": "chest",
        "smoking": "current",
    },
    "Pt is a 61 y.o. female with hx of sigmoid colon adenocarcinoma, pT3 N1 M0 (stage IIIB). CT A/P, PV phase. "
    "No gallbladder.": {
        "age": 61, "sex": "female", "site": "colon", "subsite": "sigmoid colon", "histology": "adenocarcinoma",
        "stage": "IIIB", "t": "pT3", "n": "N1", "m": "M0", "phase": "portal venous",
        "coverage_first": "upper abdomen", "coverage_last": "pelvis", "absent": ["gallbladder"],
    },
    "CT of the abdomen without contrast. No evidence of renal mass.": {
        "tumour": False, "phase": "non-contrast", "coverage_first": "upper abdomen", "coverage_last": "abdomen",
    },
    "Gentleman aged 77, lung adenocarcinoma LLL 28mm, venous phase, 5 mm slices": {
        "age": 77, "sex": "male", "site": "lung", "subsite": "lower lobe", "side": "left", "tumour": True,
        "tumour_size_mm": 28, "histology": "adenocarcinoma", "phase": "portal venous",
    },
    "Female 59 years. Previous cholecystectomy and hysterectomy. Normal kidneys. CT chest-abdomen-pelvis.": {
        "age": 59, "sex": "female", "absent": ["gallbladder", "uterus"],
        "coverage_first": "chest", "coverage_last": "pelvis",
    },
    "67-year-old man with abdominal pain and a two centimetre lesion in the head of pancreas, upper abdomen": {
        "age": 67, "sex": "male", "site": "pancreas", "subsite": "head", "tumour": True, "tumour_size_mm": 20,
        "coverage_first": "upper abdomen", "coverage_last": "upper abdomen",
    },
    "Ex-smoker with 5 cm squamous cell carcinoma of the right lower lobe, stage 3A": {
        "site": "lung", "subsite": "lower lobe", "side": "right", "histology": "squamous cell carcinoma",
        "stage": "IIIA", "tumour": True, "tumour_size_mm": 50, "smoking": "former",
    },
    "liver lesion 2,5 cm, delayed phase": {
        "site": "liver", "tumour": True, "tumour_size_mm": 25, "phase": "delayed",
    },
    "Partial nephrectomy on the left in 2010, now 4 cm mass in the right kidney": {
        "site": "kidney", "side": "right", "tumour": True, "tumour_size_mm": 40,
    },
    "please make something nice": {},
}  # fmt: skip


@pytest.mark.parametrize("sentence", list(SENTENCES))
def test_sentences_that_the_grammar_did_not_write(sentence):
    assert read_statements(sentence).model_dump(mode="json", exclude_defaults=True) == SENTENCES[sentence]
