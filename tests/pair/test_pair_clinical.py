"""Clinical tables as labs and archives have them: what is known is read with its cell, what is not is left out."""

from pathlib import Path

import pytest

from guidegen.errors import GuideGenError
from guidegen.pair.clinical import is_missing, read_clinical
from guidegen.pair.record import build_record, read_age, split_site


def write_table(path: Path, header: str, *rows: str, encoding: str = "utf-8", delimiter: str = "\t") -> Path:
    path.write_bytes("\n".join([header, *rows, ""]).replace("|", delimiter).encode(encoding))
    return path


def test_several_rows_per_patient_become_one_record(tmp_path):
    table = write_table(
        tmp_path / "c.tsv",
        "case_id|case_submitter_id|age_at_index|gender|ajcc_pathologic_stage|primary_diagnosis|treatment_type",
        "u1|TCGA-1|76|male|Stage IIIB|Squamous cell carcinoma, NOS|Radiation",
        "u1|TCGA-1|'--|male|Stage IIIB|Squamous cell carcinoma, NOS|Pharmaceutical",
        "u2|TCGA-2|50|female|'--|not reported|Radiation",
    )
    record = build_record(read_clinical(table, ["TCGA-1"]), "TCGA-1", {})
    assert record.values == {"age": 76, "sex": "male", "stage": "IIIB", "histology": "squamous cell carcinoma"}
    assert record.conflicts == []
    source = record.sources["stage"]
    assert (source.kind, source.name, source.field, source.row, source.value) == (
        *("table", "c.tsv", "ajcc_pathologic_stage", "TCGA-1", "Stage IIIB"),
    )


def test_rows_that_contradict_are_reported_and_left_out(tmp_path):
    table = write_table(
        tmp_path / "c.tsv", "patient_id|sex|stage|age", "p|male|Stage I|60", "p|female|Stage I|60", "p|male|Stage I|71"
    )
    record = build_record(read_clinical(table, ["p"]), "p", {})
    assert record.values == {"stage": "I"}
    assert sorted(text.split(":")[0] for text in record.conflicts) == ["age", "sex"]
    assert "sex=male / sex=female" in " ".join(record.conflicts)


@pytest.mark.parametrize(
    "spelling",
    ["", "'--", "--", "not reported", "Not Reported", "NOT_REPORTED", "[Not Available]", "[Unknown]", "N/A", "na",
     "NaN", "unknown", "[Not Applicable]", "  ", "not evaluated", "?"],
)  # fmt: skip
def test_not_reported_in_its_many_spellings(spelling, tmp_path):
    assert is_missing(spelling)
    table = write_table(tmp_path / "c.tsv", "patient_id|sex|stage", f"p|{spelling}|Stage II")
    assert build_record(read_clinical(table, ["p"]), "p", {}).values == {"stage": "II"}


@pytest.mark.parametrize("stated", ["no", "0", "T0", "left"])
def test_short_values_are_not_missing(stated):
    assert not is_missing(stated)


@pytest.mark.parametrize(
    ("text", "years"),
    [("68", 68), ("68 years", 68), ("068Y", 68), ("24820", 67.95), ("24820 days", 67.95), ("816 months", 68),
     ("68,5", 68.5),
     ("1000 years", None), ("old", None), ("-5", None)],
)  # fmt: skip
def test_ages_in_years_months_and_days(text, years):
    found = read_age(text)
    assert found == (None if years is None else pytest.approx(years, abs=0.01))


def test_an_age_that_is_only_in_days(tmp_path):
    table = write_table(tmp_path / "c.tsv", "case_submitter_id|age_at_index|days_to_birth", "p|'--|-22705")
    record = build_record(read_clinical(table, ["p"]), "p", {})
    assert record.values["age"] == 62
    assert record.sources["age"].field == "days_to_birth"


@pytest.mark.parametrize(
    ("column", "value", "size_mm"),
    [("tumor_size_cm", "2.7", 27), ("tumor_size_mm", "27", 27), ("tumor_size", "2,7", 27), ("tumor_size", "27 mm", 27),
     ("tumor_size_cm", "27 mm", 27), ("tumor_size_mm", "2.7 cm", 27), ("tumor_size_cm", "2.7 x 1.9 x 0.8", 27),
     ("tumor_size_cm", "Not identified", None), ("tumor_size_cm", "4000", None)],
)  # fmt: skip
def test_sizes_in_mm_and_cm(column, value, size_mm, tmp_path):
    table = write_table(tmp_path / "c.tsv", f"patient_id|{column}", f"p|{value}")
    assert build_record(read_clinical(table, ["p"]), "p", {}).values.get("size_mm") == size_mm


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
def test_encodings_and_delimiters(encoding, delimiter, tmp_path):
    table = write_table(
        tmp_path / "c.csv", "Patient ID|Geschlecht|Größe", "Müller|male|3.1", encoding=encoding, delimiter=delimiter
    )
    read = read_clinical(table, ["Müller"])
    assert list(read.rows) == ["Müller"]
    assert bool(read.notes) == (encoding in ("utf-16", "cp1252"))
    columns = {"sex": ["Geschlecht"], "size_mm": ["Größe"]}
    assert build_record(read, "Müller", columns).values == {"sex": "male", "size_mm": 31}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\x01\x02\x03\x04", "NUL bytes"),
        (b"one column\nvalue\n", "at least two columns"),
        (b"sex\tage\nmale\t4\n", "no column with the patient's id"),
        (b"patient_id\tsex\np\tmale\t7\n", "line 2: 3 cells, the header has 2"),
    ],
)
def test_what_is_no_table_is_refused(content, message, tmp_path):
    path = tmp_path / "c.tsv"
    path.write_bytes(content)
    with pytest.raises(GuideGenError, match=message):
        read_clinical(path, [])


def test_the_key_column_is_the_one_whose_values_are_patients(tmp_path):
    table = write_table(tmp_path / "c.tsv", "case_id|submitter_id|sex", "f00d-uuid|P-1|male")
    assert list(read_clinical(table, ["p-1"]).rows) == ["P-1"]
    assert list(read_clinical(table, ["F00D-UUID"]).rows) == ["f00d-uuid"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Upper lobe, lung", ("lung", "upper lobe", None)),
        ("Lung, NOS", ("lung", None, None)),
        ("Head of pancreas", ("pancreas", "head", None)),
        ("head", (None, "head", None)),
        ("Sigmoid colon", ("colon", "sigmoid colon", None)),
        ("Cecum", ("colon", "cecum", None)),
        ("Hepatic flexure of colon", ("colon", "hepatic flexure", None)),
        ("Splenic flexure", ("colon", "splenic flexure", None)),
        ("Rectosigmoid junction", ("rectum", "rectosigmoid junction", None)),
        ("Left kidney", ("kidney", None, "left")),
        ("Kidney, NOS", ("kidney", None, None)),
        ("Bladder, NOS", ("urinary bladder", None, None)),
        ("Gallbladder", (None, None, None)),
        ("Other and ill-defined sites", (None, None, None)),
    ],
)
def test_sites_of_the_gdc(text, expected):
    assert split_site(text) == expected


def test_operations_in_the_history(tmp_path):
    history = (
        "Tachycardia; cholecystectomy; Hysterectomy 2001; Left nephrectomy; partial right nephrectomy; Bladder repair"
    )
    table = write_table(tmp_path / "c.tsv", "patient_id|medical_condition", f"p|{history}")
    record = build_record(read_clinical(table, ["p"]), "p", {})
    assert record.values["absent"] == ("gallbladder", "uterus", "left kidney")
    assert record.sources["absent.uterus"].field == "medical_condition"
