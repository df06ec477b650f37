"""Nothing in a prompt is invented: each number and each noun traces to a statement, and that to a cell of its source.

The vocabulary below is written out anew, from what radiologists say, and not taken from the grammar's.
"""

import json
import re
from itertools import pairwise

import pytest
from drawn_statements import draw_statements
from hypothesis import given, settings
from hypothesis import strategies as st

from guidegen.pair.write import write_prompt
from guidegen.statements import Statements
from guidegen.study import Study
from guidegen.tables import read_tsv

FRAME = """
    a aged an and at by ct covering diameter examination finding findings for from history in indication information
    clinical largest measuring no of on patient phase primary scan side sided status post s p previous technique the tnm
    to with without year years yo y o old stage ajcc cancer malignancy pathology pathological size specimen
"""
"""Words that state nothing by themselves."""
WORDS: dict[str, dict[str, str]] = {
    "sex": {"female": "woman female lady f", "male": "man male m"},
    "side": {"left": "left lul lll", "right": "right rul rml rll"},
    "phase": {
        "non-contrast": "non contrast unenhanced noncontrast native", "arterial": "arterial contrast enhanced",
        "portal venous": "portal venous pv portovenous", "delayed": "delayed",
    },
    "smoking": {
        "never": "never smoker smoked non lifelong", "former": "former smoker ex quit smoking stopped",
        "current": "current active smoker",
    },
    "tumour": {"True": "mass tumour lesion", "False": "mass tumour lesion visible focal"},
    "site": {
        "lung": "lung pulmonary lul lll rul rml rll", "kidney": "kidney renal", "liver": "liver hepatic",
        "pancreas": "pancreas pancreatic", "colon": "colon colonic", "rectum": "rectum rectal",
        "stomach": "stomach gastric", "urinary bladder": "urinary bladder", "ovary": "ovary ovarian",
        "uterus": "uterus uterine", "oesophagus": "oesophagus oesophageal", "adrenal gland": "adrenal gland",
        "spleen": "spleen splenic", "prostate": "prostate prostatic", "duodenum": "duodenum duodenal",
        "small bowel": "small bowel",
    },
    "subsite": {"upper lobe": "upper lobe lul rul", "lower lobe": "lower lobe lll rll",
                "middle lobe": "middle lobe rml"},
    "coverage": {
        "chest": "chest thorax", "upper abdomen": "upper abdomen", "abdomen": "abdomen lower mid whole",
        "pelvis": "pelvis",
    },
    "absent": {
        "gallbladder": "gallbladder cholecystectomy", "left kidney": "left kidney nephrectomy",
        "right kidney": "right kidney nephrectomy", "uterus": "uterus hysterectomy", "spleen": "spleen splenectomy",
    },
    "histology": {
        "squamous cell carcinoma": "scc squamous carcinoma", "adenocarcinoma": "adenoca",
        "hepatocellular carcinoma": "hcc", "clear cell renal cell carcinoma": "ccrcc rcc",
        "papillary renal cell carcinoma": "prcc rcc", "chromophobe renal cell carcinoma": "chrcc rcc",
        "renal cell carcinoma": "rcc", "non-small cell lung cancer": "nsclc", "neuroendocrine carcinoma": "nec",
        "cholangiocarcinoma": "cca", "transitional cell carcinoma": "tcc",
    },
}  # fmt: skip
ROMAN = {"I": "1", "II": "2", "III": "3", "IV": "4"}


def split_words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def list_licensed(said: Statements) -> tuple[set[str], set[str]]:
    """Return the words and the numbers that the statements allow."""
    words, numbers = split_words(FRAME), set()
    for attribute in ("sex", "side", "phase", "smoking", "site", "subsite", "histology"):
        value = getattr(said, attribute)
        if value is not None:
            words |= split_words(str(value)) | split_words(WORDS[attribute].get(str(value), ""))
    if said.tumour is not None:
        words |= split_words(WORDS["tumour"][str(said.tumour)])
    for region in (said.coverage_first, said.coverage_last):
        words |= split_words(WORDS["coverage"][region]) if region else set()
    if said.coverage_first != said.coverage_last:
        words |= split_words("abdomen through c a p cap")
    for organ in said.absent:
        words |= split_words(WORDS["absent"][organ]) | split_words("absent surgically removed")
    if said.side:
        words |= split_words("sided disease")
    if said.age is not None:
        numbers.add(str(said.age))
    if said.tumour_size_mm is not None:
        words |= {"cm", "mm"}
        size = round(said.tumour_size_mm)
        numbers |= {str(size), f"{size / 10:.1f}", f"{size / 10:.1f}".removesuffix(".0")}
    for code in (said.stage, said.t, said.n, said.m):
        words |= split_words(code or "")
        numbers |= set(re.findall(r"\d+", code or ""))
    if said.stage and (numeral := re.match(r"[IV]+", said.stage)):
        numbers.add(ROMAN[numeral[0]])
        words |= split_words(said.stage.removeprefix(numeral[0]))
    if said.t or said.n or said.m:
        # `T4N1M0` is one word.
        words |= {"".join(found) for found in _join_codes(said)}
    return words, numbers


def _join_codes(said: Statements) -> list[list[str]]:
    parts = [re.findall(r"[a-z]+", code.lower()) for code in (said.t, said.n, said.m) if code]
    return [[a, b] for first, second in pairwise(parts) for a in first for b in second]


def list_invented(prompt: str, said: Statements) -> list[str]:
    words, numbers = list_licensed(said)
    text = re.sub(r"\b[MF](?=/?\d)|(?<=\d)[MF]\b", lambda sex: f" {sex[0]} ", prompt)
    found = [word for word in re.findall(r"[A-Za-z]+", text) if word.lower() not in words]
    return found + [number for number in re.findall(r"\d+(?:\.\d+)?", text) if number not in numbers]


@given(draw_statements(), st.integers(0, 400), st.integers(0, 3))
@settings(deadline=None, max_examples=400)
def test_each_number_and_word_traces_to_a_statement(said, variant, seed):
    prompt = write_prompt(said, seed, variant)
    assert list_invented(prompt, said) == [], prompt


@pytest.mark.parametrize(
    ("prompt", "invented"),
    [
        ("68-year-old woman with cirrhosis.", ["cirrhosis"]),
        ("69-year-old woman.", ["69"]),
        ("68-year-old woman. Arterial phase CT.", ["Arterial"]),
        ("68-year-old woman, 3 cm mass.", ["cm", "mass", "3"]),
        ("68-year-old man.", ["man"]),
    ],
)
def test_the_check_finds_what_is_invented(prompt, invented):
    assert list_invented(prompt, Statements.model_validate({"age": 68, "sex": "female"})) == invented


def test_each_number_and_word_of_a_studys_prompts_traces_to_a_cell(phantom_study: Study):
    """From the prompt to the statements, and from each statement to the text of the cell that it cites."""
    rows = [row for name in phantom_study.collections for row in read_tsv(phantom_study.root / f"data/text/{name}.tsv")]
    assert rows
    for row in rows:
        said, sources = Statements.model_validate(json.loads(row["statements"])), json.loads(row["sources"])
        assert list_invented(row["prompt"], said) == [], row["prompt"]
        for attribute, value in json.loads(row["statements"]).items():
            cited = sources[attribute]["value"] if attribute != "absent" else ""
            if attribute == "age":
                years = float(cited) / 365.25 if abs(float(cited)) > 150 else float(cited)
                assert int(abs(years)) == value or round(abs(years)) == value
            elif attribute == "tumour_size_mm":
                assert round(float(cited)) == value
            elif attribute in ("sex", "side", "site", "subsite", "coverage_first", "coverage_last", "t", "n", "m"):
                assert str(value).removeprefix("p").lower() in cited.lower()
            elif attribute == "stage":
                assert cited.upper().split()[-1] == value
            elif attribute == "histology":
                assert split_words(value) <= split_words(cited) | {"renal", "cell"}
