"""The clinical table of a phantom collection, in the GDC's flat form: one row per treatment, `'--` where unknown."""

import uuid
from collections.abc import Mapping

import numpy as np

from guidegen.phantom.lesion import name_subsite
from guidegen.phantom.patient import DIAMETER_LIMITS, DIAMETERS, Patient
from guidegen.seeds import derive_rng, derive_seed
from guidegen.statements import Side

MISSING = "'--"
COLUMNS = (
    *("case_id", "case_submitter_id", "project_id", "age_at_index", "days_to_birth", "ethnicity", "gender", "race"),
    *("vital_status", "age_at_diagnosis", "ajcc_pathologic_m", "ajcc_pathologic_n", "ajcc_pathologic_stage"),
    *("ajcc_pathologic_t", "ajcc_staging_system_edition", "classification_of_tumor", "days_to_diagnosis"),
    *("icd_10_code", "laterality", "morphology", "primary_diagnosis", "site_of_resection_or_biopsy"),
    *("tissue_or_organ_of_origin", "tumor_grade", "tumor_largest_dimension_diameter", "tobacco_smoking_status"),
    *("treatment_or_therapy", "treatment_type"),
)
DIAGNOSES = {
    "tcga_luad": ("Adenocarcinoma, NOS", "8140/3"),
    "cptac_luad": ("Adenocarcinoma, NOS", "8140/3"),
    "tcga_lusc": ("Squamous cell carcinoma, NOS", "8070/3"),
    "cptac_lscc": ("Squamous cell carcinoma, NOS", "8070/3"),
    "tcga_kirc": ("Clear cell adenocarcinoma, NOS", "8310/3"),
    "cptac_ccrcc": ("Renal cell carcinoma, NOS", "8312/3"),
    "tcga_kirp": ("Papillary adenocarcinoma, NOS", "8260/3"),
    "tcga_kich": ("Renal cell carcinoma, chromophobe type", "8317/3"),
    "tcga_lihc": ("Hepatocellular carcinoma, NOS", "8170/3"),
    "cptac_pda": ("Infiltrating duct carcinoma, NOS", "8500/3"),
}
ICD_10 = {
    "Upper lobe, lung": "C34.1",
    "Middle lobe, lung": "C34.2",
    "Lower lobe, lung": "C34.3",
    "Lung, NOS": "C34.9",
    "Kidney, NOS": "C64.9",
    "Liver": "C22.0",
    "Head of pancreas": "C25.0",
    "Body of pancreas": "C25.1",
    "Tail of pancreas": "C25.2",
    "Pancreas, NOS": "C25.9",
    "Cecum": "C18.0",
    "Ascending colon": "C18.2",
    "Hepatic flexure of colon": "C18.3",
    "Transverse colon": "C18.4",
    "Splenic flexure of colon": "C18.5",
    "Descending colon": "C18.6",
    "Sigmoid colon": "C18.7",
    "Colon, NOS": "C18.9",
    "Rectum, NOS": "C20.9",
}
UNSPECIFIED = {
    "lung": "Lung, NOS",
    "kidney": "Kidney, NOS",
    "liver": "Liver",
    "pancreas": "Pancreas, NOS",
    "colon": "Colon, NOS",
    "rectum": "Rectum, NOS",
}
SIZE_LIMITS = {
    "lung": ((30, "T1"), (50, "T2"), (70, "T3"), (999, "T4")),
    "kidney": ((40, "T1a"), (70, "T1b"), (100, "T2a"), (999, "T3")),
    "pancreas": ((20, "T1"), (40, "T2"), (999, "T3")),
    "liver": ((20, "T1"), (50, "T2"), (999, "T3")),
    "colon": ((25, "T2"), (65, "T3"), (999, "T4a")),
    "rectum": ((25, "T2"), (65, "T3"), (999, "T4a")),
}
"""T category by the tumour's largest diameter in mm, simplified where depth or invasion decide in truth."""
STAGES = {
    "lung": {("T1", "N0"): "IA", ("T2", "N0"): "IB", ("T3", "N0"): "IIB", ("T1", "N1"): "IIB", ("T2", "N1"): "IIB"},
    "kidney": {("T1", "N0"): "I", ("T2", "N0"): "II"},
    "pancreas": {("T1", "N0"): "IA", ("T2", "N0"): "IB", ("T3", "N0"): "IIA"},
    "liver": {("T1", "N0"): "I", ("T2", "N0"): "II"},
    "colon": {("T2", "N0"): "I", ("T3", "N0"): "IIA", ("T4", "N0"): "IIB"},
    "rectum": {("T2", "N0"): "I", ("T3", "N0"): "IIA", ("T4", "N0"): "IIB"},
}
LATER_STAGE = {"lung": "IIIA", "kidney": "III", "pancreas": "IIB", "liver": "IIIA", "colon": "IIIB", "rectum": "IIIB"}
NODE_SHARES = {"lung": 0.3, "kidney": 0.06, "pancreas": 0.55, "liver": 0.05, "colon": 0.35, "rectum": 0.4}
SMOKING = ("Lifelong Non-smoker", "Current Smoker", "Current Reformed Smoker for > 15 yrs", MISSING)


def write_clinical_rows(patient: Patient, diameter_mm: float | None) -> list[dict[str, str]]:
    """Return a patient's rows.

    Args:
        patient: whose rows.
        diameter_mm: largest diameter of the painted tumour, None without a tumour; stated in cm in about two
            thirds of the patients.
    """
    rng = derive_rng(patient.seed, "phantom", patient.collection, patient.index, "clinical")
    row = dict.fromkeys(COLUMNS, MISSING)
    row |= _describe_person(patient, rng)
    row |= _describe_disease(patient, rng, diameter_mm)
    return [{**row, **treatment} for treatment in _list_treatments(rng)]


def _describe_person(patient: Patient, rng: np.random.Generator) -> dict[str, str]:
    days = int(patient.age * 365.25) + int(rng.integers(5, 340))
    seed = derive_seed(patient.seed, "phantom", "case id", patient.collection, patient.index)
    known = rng.random() > 0.08
    smokers = (0.15, 0.3, 0.4, 0.15) if patient.site == "lung" else (0.0, 0.0, 0.0, 1.0)
    return {
        "case_id": str(uuid.UUID(int=seed << 64 | (seed * 0x9E3779B97F4A7C15) % 2**64, version=4)),
        "case_submitter_id": patient.patient_id,
        "project_id": patient.collection_name,
        "age_at_index": str(patient.age) if known else MISSING,
        "days_to_birth": str(-days),
        "ethnicity": "not reported",
        "gender": str(patient.sex),
        "race": "not reported",
        "vital_status": "Alive" if rng.random() < 0.68 else "Dead",
        "age_at_diagnosis": str(days),
        "tobacco_smoking_status": str(rng.choice(SMOKING, p=smokers)),
    }


def _describe_disease(patient: Patient, rng: np.random.Generator, diameter_mm: float | None) -> dict[str, str]:
    diagnosis, morphology = DIAGNOSES.get(patient.collection, ("Adenocarcinoma, NOS", "8140/3"))
    origin = name_subsite(patient.tumour) if patient.tumour else UNSPECIFIED[patient.site]
    median, deviation = DIAMETERS[patient.site]
    drawn = float(np.clip(median * np.exp(rng.normal(0, deviation)), *DIAMETER_LIMITS))
    stating = rng.random() < 0.65
    row = {
        "classification_of_tumor": "primary",
        "days_to_diagnosis": "0",
        "icd_10_code": ICD_10[origin],
        "morphology": morphology,
        "primary_diagnosis": diagnosis,
        "site_of_resection_or_biopsy": origin,
        "tissue_or_organ_of_origin": origin,
        "tumor_grade": f"G{int(rng.integers(1, 4))}" if rng.random() < 0.6 else "not reported",
        "laterality": name_laterality(patient, rng),
    }
    if diameter_mm is not None and stating:
        row["tumor_largest_dimension_diameter"] = f"{diameter_mm / 10:.1f}"
    return row | _stage(patient.site, diameter_mm or drawn, rng)


def name_laterality(patient: Patient, rng: np.random.Generator) -> str:
    """Return the side of a paired organ as the GDC writes it: the tumour's, or that of the kidney taken out."""
    if patient.site not in ("lung", "kidney"):
        return MISSING
    if patient.tumour and patient.tumour.side:
        return str(patient.tumour.side).capitalize()
    gone = [side for side in Side if f"{side} kidney" in patient.absent]
    if patient.site == "kidney" and gone:
        return str(gone[0]).capitalize()
    return str(rng.choice(["Left", "Right", MISSING]))


def _stage(site: str, diameter_mm: float, rng: np.random.Generator) -> dict[str, str]:
    t = next(name for limit, name in SIZE_LIMITS[site] if diameter_mm <= limit)
    n = "N1" if rng.random() < NODE_SHARES[site] else "N0"
    m = "M1" if rng.random() < 0.07 else "M0"
    stage = "IV" if m == "M1" else STAGES[site].get((t[:2], n), LATER_STAGE[site])
    row = {
        "ajcc_pathologic_t": t,
        "ajcc_pathologic_n": n,
        "ajcc_pathologic_m": m,
        "ajcc_pathologic_stage": f"Stage {stage}",
        "ajcc_staging_system_edition": "7th",
    }
    if rng.random() < 0.12:
        row |= {"ajcc_pathologic_n": "NX", "ajcc_pathologic_stage": MISSING}
    if rng.random() < 0.15:
        row["ajcc_pathologic_m"] = "MX"
    return row


def _list_treatments(rng: np.random.Generator) -> list[Mapping[str, str]]:
    kinds = ("Pharmaceutical Therapy, NOS", "Radiation Therapy, NOS", "Surgery, NOS")
    count = int(rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15]))
    return [{"treatment_or_therapy": str(rng.choice(["yes", "no"])), "treatment_type": kind} for kind in kinds[:count]]
