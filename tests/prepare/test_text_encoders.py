"""The token states come from the encoder that the config names: embedded, a folder, or a model by its name."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from fabricated_study import fabricate_study

from guidegen.models.settings import EMBEDDED_ENCODER, EncoderSettings
from guidegen.models.text import TextEncoder, locate_encoder
from guidegen.prepare.paraphrases import compare_wordings, measure_paraphrases
from guidegen.prepare.run import prepare_cohort
from guidegen.study import Study


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face model of random weights, of another depth and width than the embedded one."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny")
    for path in locate_encoder(EMBEDDED_ENCODER).glob("*"):
        if path.name.startswith(("tokenizer", "vocab", "special")):
            shutil.copy(path, folder)
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=1, max_position_embeddings=64
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_a_model_in_a_folder_encodes_without_network(tiny_model: Path) -> None:
    encoder = TextEncoder(EncoderSettings(name=str(tiny_model), max_tokens=64))
    states = encoder.encode(["68-year-old woman", "68-year-old woman with a mass", "68-year-old woman"])
    assert [state.shape[1] for state in states] == [16] * 3
    np.testing.assert_array_equal(states[0], states[2])
    assert states[0].shape != states[1].shape


def test_a_model_is_found_by_name_in_the_hugging_face_cache(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "models--lab--tiny" / "snapshots" / ("0" * 40)
    shutil.copytree(tiny_model, snapshot)
    (tmp_path / "models--lab--tiny" / "refs").mkdir()
    (tmp_path / "models--lab--tiny" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert locate_encoder("lab/tiny") == snapshot
    assert TextEncoder(EncoderSettings(name="lab/tiny", max_tokens=64)).width == 16


def test_a_study_uses_it_and_other_weights_make_its_states_again(tiny_model: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "encoder"
    shutil.copytree(tiny_model, folder)
    config = f"prepare: {{grid: 16, encoder: {{name: {folder}, max_tokens: 64}}}}\n"
    study = fabricate_study(tmp_path / "study", patients=2, config=config)
    prepare_cohort(study)
    path = study.root / "data" / "cohort" / "text" / "states.safetensors"
    before = path.read_bytes()
    assert {state.shape[1] for state in load_file(path).values()} == {16}
    prepare_cohort(study)
    assert path.read_bytes() == before
    weights = load_file(folder / "model.safetensors")
    save_file({name: value + np.float32(0.01) for name, value in weights.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    prepare_cohort(study)
    assert path.read_bytes() != before


def test_only_new_prompts_are_encoded_and_damaged_states_are_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cohort that grows by one patient of each collection; its states are those of a cohort made at once."""
    small, large = (fabricate_study(tmp_path / name, patients=n) for name, n in (("small", 3), ("large", 4)))
    prepare_cohort(small)
    shutil.copytree(small.root / "data" / "cohort", large.root / "data" / "cohort")
    shutil.copytree(small.root / ".guidegen", large.root / ".guidegen", dirs_exist_ok=True)
    encoded: list[str] = []
    encode = TextEncoder.encode

    def count(self: TextEncoder, texts: list[str]) -> list[np.ndarray]:
        encoded.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(TextEncoder, "encode", count)
    states = large.root / "data" / "cohort" / "text" / "states.safetensors"
    prepare_cohort(large)
    assert len(encoded) == 4, "two wordings of each new patient"
    grown = states.read_bytes()
    states.write_bytes(grown[:-1] + bytes([grown[-1] ^ 1]))
    encoded.clear()
    prepare_cohort(large)
    assert len(encoded) == 17, "all wordings and the empty prompt"
    assert states.read_bytes() == grown


def test_how_near_wordings_lie_is_measured_right() -> None:
    angles = np.deg2rad([0, 10, 90, 130, 12])
    states = [np.array([[np.cos(a), np.sin(a)]], np.float16) for a in angles]
    found = measure_paraphrases(["a", "a", "b", "b", "c"], states)
    assert found.wordings == 5
    assert found.same_case == pytest.approx((np.cos(np.deg2rad(10)) + np.cos(np.deg2rad(40))) / 2, abs=1e-3)
    # Of a's two wordings one has c nearer (2 degrees) than the other wording; those of b have each other nearest.
    assert found.nearest == pytest.approx(3 / 4)
    assert found.nearer == pytest.approx((1 + 2 / 3 + 1 + 1) / 4, abs=1e-6)


def test_paraphrases_of_a_case_are_nearer_to_each_other_than_to_other_cases(smoke_study: Path) -> None:
    """With the embedded encoder, on the prompts of a whole smoke study."""
    found = compare_wordings(Study.load(smoke_study))
    assert found is not None
    assert found.same_case > found.other_case + 0.05
    assert found.nearer > 0.75
