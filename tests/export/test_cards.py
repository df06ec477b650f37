"""The cards say where data come from, who is in them, what they are for, and what they are not."""

import json

import pytest

from guidegen.export.cards import STAGES, export_cards
from guidegen.export.release import Release
from guidegen.tables import read_tsv


@pytest.fixture(scope="module")
def cards(release: Release, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("cards") / "cards"
    assert export_cards(release, out) == 1 + len(STAGES)
    return {path.stem: path.read_text() for path in out.iterdir()}


def test_the_data_card_names_sources_cohort_gates_and_limits(cards: dict[str, str], release: Release) -> None:
    card = cards["DATA_CARD"]
    for collection in release.study.collections.values():
        assert f"https://doi.org/{collection.doi}" in card
    for source in release.sources:
        (line,) = [line for line in card.splitlines() if f"(`{source.collection}`)" in line]
        assert ", ".join(source.licences) in line
        assert f"| {source.patients} | {source.series} |" in line
    rows = [row for row in read_tsv(release.study.root / "data/cohort/cohort.tsv") if row["status"] == "ok"]
    assert f"{len(rows)} cases of {len({row['patient'] for row in rows})} patients" in card
    for gate in ("volume", "left_right", "order", "hu"):
        assert f"| {gate} |" in card
    assert "**Phantoms.**" in card
    for title in ("Sources, licences, citations", "Cohort", "What was left out", "Intended use", "Limits"):
        assert f"## {title}" in card


@pytest.mark.parametrize("stage", STAGES)
def test_a_model_card_names_weights_training_and_figures(cards: dict[str, str], release: Release, stage: str) -> None:
    card = cards[f"MODEL_CARD_{stage}"]
    files = {row["case"]: row for row in read_tsv(release.study.root / f"results/models/{stage}.tsv")}
    assert files["model.safetensors"]["sha256"] in card
    held_out = json.loads((release.study.root / f"results/models/{stage}/held_out.json").read_text())
    assert f"{held_out['loss']:.3g}" in card
    assert held_out["baseline_name"] in card
    assert "Trained on phantoms" in card
    assert "## Intended use and limits" in card


def test_no_card_has_a_hole(cards: dict[str, str]) -> None:
    for text in cards.values():
        assert not [word for word in ("{{", "{%", "None", "Undefined", "\n\n\n\n") if word in text]
