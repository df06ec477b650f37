"""Stage II: shapes, window, label pyramid, files."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import AUTOENCODER, BINDING, CLASSES, shake

from guidegen.errors import GuideGenError
from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.contrast_window import apply_window, draw_windows
from guidegen.models.settings import ContrastAutoencoderSettings

RNG = np.random.default_rng(0)
CT = RNG.integers(-1500, 1500, (1, 32, 32, 32)).astype(np.int16)
LABELS = RNG.integers(0, len(CLASSES), (1, 16, 16, 16)).astype(np.uint8)


def make_autoencoder(**changes) -> ContrastAutoencoder:
    torch.manual_seed(0)
    settings = AUTOENCODER.model_copy(update=changes)
    return shake(ContrastAutoencoder(settings, BINDING))  # type: ignore[return-value]


def test_ct_becomes_a_latent_four_times_smaller_and_comes_back_in_range():
    model = make_autoencoder()
    latents = model.encode(CT, LABELS)
    assert latents.shape == (1, 4, 8, 8, 8)
    volume = model.decode(latents, LABELS)
    assert volume.shape == CT.shape
    assert volume.dtype == np.float32
    assert volume.min() >= -1024
    assert volume.max() <= 1024


def test_hu_scale_is_the_identity_within_the_range():
    model = make_autoencoder()
    values = torch.tensor([-3000.0, -1024.0, 0.0, 300.0, 1024.0, 4000.0])
    assert torch.allclose(model.unscale_hu(model.scale_hu(values)), values.clamp(-1024, 1024), atol=1e-3)


def test_labels_matter_to_both_halves_and_the_null_label_is_another_input():
    model = make_autoencoder()
    latents = model.encode(CT, LABELS)
    other = np.roll(LABELS, 3, 1)
    for labels in (other, None):
        assert np.abs(model.encode(CT, labels) - latents).max() > 1e-3
        assert np.abs(model.decode(latents, labels) - model.decode(latents, LABELS)).max() > 1e-2
    null = np.full_like(LABELS, len(CLASSES))
    assert np.array_equal(model.encode(CT, null), model.encode(CT, None))


def test_without_pyramid_labels_do_not_count():
    on, off = make_autoencoder(), make_autoencoder(label_pyramid=False)
    off.load_state_dict(on.state_dict())
    assert np.array_equal(off.encode(CT, LABELS), on.encode(CT, None))
    assert not np.array_equal(off.encode(CT, LABELS), on.encode(CT, LABELS))


def test_pyramid_repeats_and_averages_the_embedded_label_map():
    model = make_autoencoder()
    pyramid = model.build_pyramid(torch.from_numpy(LABELS), (1, 16, 16, 16))
    assert [level.shape[-1] for level in pyramid] == [32, 16, 8]
    assert torch.equal(pyramid[0][..., ::2, ::2, ::2], pyramid[1])
    assert torch.allclose(pyramid[2][0, :, 0, 0, 0], pyramid[1][0, :, :2, :2, :2].mean((1, 2, 3)), atol=1e-6)


def test_stored_autoencoder_comes_back(tmp_path):
    model = make_autoencoder()
    model.latent_std.fill_(2.5)
    model.save(tmp_path)
    again = ContrastAutoencoder.load(tmp_path, labels_hash="l")
    assert np.array_equal(again.encode(CT, LABELS), model.encode(CT, LABELS))
    assert again.latent_std.tolist() == [2.5] * 4
    with pytest.raises(GuideGenError, match="labels_hash"):
        ContrastAutoencoder.load(tmp_path, labels_hash="other")


@given(st.integers(0, 10_000), st.floats(-4000, 4000), st.floats(1, 3000))
@settings(max_examples=50, deadline=None)
def test_window_is_bounded_monotonous_and_centred(seed, centre, half_width):
    volume = torch.randn(1, 1, 4, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2000
    found = apply_window(volume, torch.tensor([centre]), torch.tensor([half_width]))
    assert found.min() >= 0
    assert found.max() <= 1
    order = volume.ravel().argsort()
    assert (found.ravel()[order].diff() >= 0).all()
    middle = apply_window(torch.full((1, 1, 1), centre), torch.tensor([centre]), torch.tensor([half_width]))
    assert middle.item() == pytest.approx(0.5, abs=1e-4)


def test_windows_stay_within_the_settings_and_differ_per_sample():
    torch.manual_seed(0)
    found = ContrastAutoencoderSettings(window_centre=(-500, 200), window_half_width=(50, 800))
    centre, half_width = draw_windows(5000, found)
    assert -500 <= centre.min() < -490
    assert 190 < centre.max() <= 200
    assert 50 <= half_width.min() < 51
    assert 780 < half_width.max() <= 800.1
    # log-uniform: half of the draws lie below the geometric mean
    assert (half_width < 200).float().mean() == pytest.approx(0.5, abs=0.03)
    assert len(set(centre.tolist())) > 4000
