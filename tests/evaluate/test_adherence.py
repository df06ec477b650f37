from dataclasses import replace

import numpy as np
import pytest

from guidegen.evaluate.adherence import contrast_ranks, correlate_ranks, evaluate_adherence
from guidegen.evaluate.attributes import fit_instruments
from guidegen.evaluate.bootstrap import draw_weights
from guidegen.evaluate.cases import list_synthetic, read_real_cases, read_synthetic_cases, read_volume
from guidegen.evaluate.observe import observe_case
from guidegen.prepare.cohort import read_cohort
from guidegen.seeds import derive_rng


@pytest.fixture(scope="module")
def measured(obedient_study):
    study = obedient_study
    real = list(read_real_cases(study, read_cohort(study), lambda *_: None))
    made = list(read_synthetic_cases(study, "adherence", lambda *_: None))
    tools = fit_instruments([c for c in real if c.split == "train"], study.labels, study.config.evaluate)
    return made, [c for c in real if c.split != "train"], tools


CONTROLLED = ("coverage", "tumour presence", "tumour side", "contrast phase", "absent organs", "tumour size")


def test_obedient_cases_are_read_as_followed(measured) -> None:
    found = evaluate_adherence(*measured, seed=1)["attributes"]
    assert {name: found[name]["verdict"] for name in CONTROLLED} == dict.fromkeys(CONTROLLED, "followed")
    for name in ("coverage", "tumour presence", "contrast phase"):
        assert found[name]["true"]["value"] > 0.9
        assert found[name]["real"]["true"]["value"] > 0.9, "the instrument itself cannot read it"


def test_permuted_cases_show_no_adherence(measured) -> None:
    made, real, tools = measured
    order = np.random.default_rng(8).permutation(len(made))
    permuted = [replace(case, seen=made[j].seen) for case, j in zip(made, order, strict=True)]
    found = evaluate_adherence(permuted, real, tools, seed=1)["attributes"]
    assert "followed" not in {found[name]["verdict"] for name in CONTROLLED}
    for name in CONTROLLED:
        assert found[name]["p_permutation"] > 0.02


def test_equal_cases_for_all_prompts_are_called_ignored(measured) -> None:
    made, real, tools = measured
    equal = [replace(case, seen=made[0].seen) for case in made]
    found = evaluate_adherence(equal, real, tools, seed=1)["attributes"]
    for name in ("coverage", "tumour presence", "contrast phase", "tumour size"):
        assert found[name]["verdict"] == "ignored", name
        assert found[name]["difference"]["value"] <= 1e-9


def test_wrong_hu_moves_only_the_phase(measured) -> None:
    made, real, tools = measured
    flat = [replace(case, seen=replace(case.seen, hu=np.full_like(case.seen.hu, 50.0))) for case in made]
    before = evaluate_adherence(made, real, tools, seed=1)["attributes"]
    after = evaluate_adherence(flat, real, tools, seed=1)["attributes"]
    assert after["contrast phase"]["verdict"] == "ignored"
    assert {k: v for k, v in before.items() if k != "contrast phase"} == {
        k: v for k, v in after.items() if k != "contrast phase"
    }


def observe_spoilt(study, made, spoil) -> list:
    """The generated cases as they are read after label map and CT were spoilt."""
    rows = {row["case"]: row for row in list_synthetic(study, "adherence")}
    spoilt = []
    for case in made:
        labels, spacing = read_volume(study.root / rows[case.case]["labels_path"])
        ct, _ = read_volume(study.root / rows[case.case]["path"])
        spoilt.append(replace(case, seen=observe_case(*spoil(labels, ct), spacing, study.labels)))
    return spoilt


def test_mirror_images_move_the_side_and_the_kidney_and_nothing_else(obedient_study, measured) -> None:
    made, real, tools = measured
    mirrored = observe_spoilt(obedient_study, made, lambda labels, ct: (labels[::-1], ct[::-1]))
    before = evaluate_adherence(made, real, tools, seed=1)["attributes"]
    after = evaluate_adherence(mirrored, real, tools, seed=1)["attributes"]
    assert after["tumour side"]["verdict"] == "ignored"
    assert after["tumour side"]["true"]["value"] < 0.1
    assert after["absent organs"]["true"]["value"] < before["absent organs"]["true"]["value"]
    for name in ("coverage", "tumour presence", "contrast phase", "tumour size"):
        assert after[name] == before[name]


def test_empty_label_maps_follow_no_prompt(obedient_study, measured) -> None:
    made, real, tools = measured
    empty = observe_spoilt(obedient_study, made, lambda labels, ct: (np.zeros_like(labels), ct))
    found = evaluate_adherence(empty, real, tools, seed=1)
    assert {name: found["attributes"][name]["verdict"] for name in CONTROLLED} == dict.fromkeys(CONTROLLED, "ignored")
    assert all(name in found["alarm"] for name in CONTROLLED)


def test_requests_that_do_not_vary_are_not_tested(measured) -> None:
    made, real, tools = measured
    same = [replace(c, statements=c.statements.model_copy(update={"phase": made[0].statements.phase})) for c in made]
    found = evaluate_adherence(same, real, tools, seed=1)["attributes"]
    assert found["contrast phase"]["verdict"] == "not tested"


def test_rank_correlation_needs_variation_and_order() -> None:
    asked = np.arange(12.0)
    weights = draw_weights(derive_rng(1), [str(i) for i in range(12)], 300)

    def contrast(found: np.ndarray):
        return contrast_ranks(asked, found, weights, derive_rng(2), 300)

    assert contrast(asked**2).true.value == pytest.approx(1.0)
    assert contrast(-asked).true.value == pytest.approx(-1.0)
    assert contrast(np.zeros(12)).difference.value == pytest.approx(0.0)
    assert correlate_ranks(asked, np.ones(12)) == 0.0


def test_sex_classifier_is_checked_on_held_out_cases_and_size_in_mm_needs_small_voxels(measured) -> None:
    made, real, tools = measured
    found = evaluate_adherence(made, real, tools, seed=1)
    assert found["sex_classifier"]["accuracy"]["n"] == len(real)
    assert 0.5 <= found["sex_classifier"]["largest_class"] < 1
    assert found["size_in_mm"]["error"] is None
    assert "a voxel is" in found["size_in_mm"]["reason"]
    fine = evaluate_adherence([replace(case, voxel_mm=2.0) for case in made], real, tools, seed=1)
    assert fine["size_in_mm"]["error"]["unit"] == "mm"


def test_ignored_text_is_said_in_one_sentence(measured) -> None:
    made, real, tools = measured
    equal = [replace(case, seen=made[0].seen) for case in made]
    assert "contrast phase" in evaluate_adherence(equal, real, tools, seed=1)["alarm"]
    assert "contrast phase" not in evaluate_adherence(made, real, tools, seed=1)["alarm"]
