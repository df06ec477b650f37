"""The grammar and the parser agree on all wordings, and the parser reads what people write."""

import pytest
from drawn_statements import draw_statements
from hypothesis import given, settings
from hypothesis import strategies as st
from written_sentences import DICTATED, SENTENCES

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


@pytest.mark.parametrize("sentence", [*SENTENCES, *DICTATED])
def test_sentences_that_the_grammar_did_not_write(sentence):
    assert read_statements(sentence).model_dump(mode="json", exclude_defaults=True) == (SENTENCES | DICTATED)[sentence]
