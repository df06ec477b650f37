"""Stage II: shapes, window, label pyramid, files."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import AUTOENCODER, BINDING, CLASSES, shake

from guidegen.errors import GuideGenError
from guidegen.models.class_means import paint_class_means, unmix_class_means
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
    pyramid = model.pyramid(torch.from_numpy(LABELS).long())
    assert [level.shape[-1] for level in pyramid] == [32, 16, 8]
    assert torch.equal(pyramid[0][..., ::2, ::2, ::2], pyramid[1])
    assert torch.allclose(pyramid[2][0, :, 0, 0, 0], pyramid[1][0, :, :2, :2, :2].mean((1, 2, 3)), atol=1e-6)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_class_means_are_those_of_the_voxels_of_each_class(seed):
    rng = np.random.default_rng(seed)
    values, labels = rng.normal(size=(2, 3, 4, 5, 6)).astype(np.float32), rng.integers(0, 4, (2, 4, 5, 6))
    found = paint_class_means(torch.from_numpy(values), torch.from_numpy(labels), 6).numpy()
    for batch, channel in np.ndindex(2, 3):
        for label in np.unique(labels[batch]):
            inside = labels[batch] == label
            assert np.allclose(found[batch, channel][inside], values[batch, channel][inside].mean(), atol=1e-6)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_means_are_found_again_in_latents_that_mix_classes(seed):
    rng = np.random.default_rng(seed)
    labels, means = torch.from_numpy(rng.integers(0, 4, (1, 16, 16, 16))), torch.from_numpy(rng.normal(size=(6, 3)))
    mixed = torch.nn.functional.avg_pool3d(means[labels].movedim(-1, 1).float(), 2)
    found = unmix_class_means(mixed, labels, 6)
    assert torch.allclose(found.movedim(1, -1), means[labels].float(), atol=1e-2)


def test_before_training_an_organ_comes_back_with_its_mean():
    labels = np.zeros_like(LABELS)
    labels[:, 3:9, 3:9, 3:9] = 2
    ct = np.full_like(CT, -900)
    ct[:, 6:18, 6:18, 6:18] = 226
    torch.manual_seed(0)
    settings = AUTOENCODER.model_copy(update={"class_means": True})
    model = ContrastAutoencoder(settings, BINDING)
    found = model.decode(model.encode(ct, labels), labels)
    assert np.abs(found[:, 7:17, 7:17, 7:17] - 226).max() < 5


def test_with_class_means_an_organ_is_told_far_away_of_its_mean():
    labels = np.zeros_like(LABELS)
    labels[:, :, :, 1] = 3
    brighter = CT.copy()
    brighter[:, :2, :, 2:4] += 300
    reach = []
    for means in (False, True):
        model = make_autoencoder(class_means=means, blocks=1, norm_groups=1)
        # without normalisation, which carries statistics of the whole volume
        for block in model.modules():
            if isinstance(block, torch.nn.GroupNorm):
                block.forward = lambda x: x  # type: ignore[method-assign]
        change = np.abs(model.encode(brighter, labels) - model.encode(CT, labels))
        reach.append((change[:, :, -1, :, 0].max(), change[:, :, -1, :, -1].max()))
    assert reach[0] == (0, 0)
    assert reach[1][0] > 1e-3
    assert reach[1][1] == 0


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
