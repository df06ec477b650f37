"""The embedded text encoder."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from guidegen.errors import GuideGenError
from guidegen.models.settings import EncoderSettings
from guidegen.models.text import TextEncoder, hash_encoder, locate_encoder


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(EncoderSettings(max_tokens=24))


def test_states_are_deterministic_and_independent_of_the_batch(encoder):
    texts = ["CT of the chest in a woman", "", "portal venous phase"]
    states = encoder.encode(texts)
    assert [state.dtype for state in states] == [np.float16] * 3
    assert all(state.shape[1] == encoder.width == 384 for state in states)
    assert np.array_equal(encoder.encode(texts[2:])[0], states[2])
    assert len(states[1]) == 2


def test_long_texts_are_cut(encoder):
    assert len(encoder.encode(["liver " * 300])[0]) == 24


def test_similar_prompts_are_closer_than_different_ones(encoder):
    first, alike, other = (
        s.astype(np.float32).mean(0) for s in encoder.encode(["chest CT", "CT of the chest", "pelvis MRI"])
    )
    assert first @ alike / np.linalg.norm(alike) > first @ other / np.linalg.norm(other)


def test_hash_follows_weights_and_token_limit(tmp_path):
    folder = tmp_path / "encoder"
    shutil.copytree(locate_encoder(EncoderSettings().name), folder)
    same = hash_encoder(EncoderSettings(name=str(folder)))
    assert same == hash_encoder(EncoderSettings())
    assert same != hash_encoder(EncoderSettings(max_tokens=64))
    (folder / "vocab.txt").write_text("[UNK]\n")
    assert same != hash_encoder(EncoderSettings(name=str(folder)))


def test_unknown_encoder_is_refused_without_network():
    with pytest.raises(GuideGenError, match="neither a folder nor in the Hugging Face cache"):
        locate_encoder("nobody/no-such-encoder")


def test_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(GuideGenError, match=r"model\.safetensors"):
        hash_encoder(EncoderSettings(name=str(tmp_path)))


def test_settings_import_nothing_heavy():
    heavy = "{'torch', 'monai', 'transformers'} & set(sys.modules)"
    code = f"import sys, guidegen.models.text, guidegen.train.settings, guidegen.train.command; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
