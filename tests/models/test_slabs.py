"""Encoding and decoding in slabs: the same as the whole, in less memory."""

import logging
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import AUTOENCODER, BINDING, CLASSES, shake
from torch.utils._python_dispatch import TorchDispatchMode

from guidegen.models import memory, slabs
from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.memory import measure_free_memory
from guidegen.models.slabs import SlabAutoencoder

CPU = torch.device("cpu")


def make_autoencoder(**changes) -> ContrastAutoencoder:
    torch.manual_seed(0)
    settings = AUTOENCODER.model_copy(update={"blocks": 2, **changes})
    return shake(ContrastAutoencoder(settings, BINDING))  # type: ignore[return-value]


def make_volume(side: int, batch: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return HU and class ids that differ from one end of the volume to the other."""
    rng = np.random.default_rng(0)
    slope = np.linspace(-900, 900, side)[:, None, None]
    ct = (slope + rng.normal(0, 200, (batch, side, side, side))).astype(np.int16)
    return ct, rng.integers(0, len(CLASSES), (batch, side // 2, side // 2, side // 2)).astype(np.uint8)


@pytest.mark.parametrize(
    ("parts", "labelled", "means"), [(2, False, False), (3, True, False), (50, True, False), (3, True, True)]
)
def test_parts_equal_the_whole(parts, labelled, means):
    whole, split = (make_autoencoder(parts=count, class_means=means) for count in (1, parts))
    ct, labels = make_volume(16)
    chosen = labels if labelled else None
    latents = whole.encode(ct, chosen)
    assert np.abs(split.encode(ct, chosen) - latents).max() < 1e-4
    # 1e-4 of the range of −1 … 1
    assert np.abs(split.decode(latents, chosen) - whole.decode(latents, chosen)).max() < 1e-4 * 1024


def test_slabs_with_statistics_of_their_own_do_not():
    model = make_autoencoder()
    ct, labels = make_volume(32, 1)
    halves = [
        model.encode(ct[:, part], labels[:, half])
        for part, half in ((slice(16), slice(8)), (slice(16, 32), slice(8, 16)))
    ]
    apart = np.abs(np.concatenate(halves, 1 + 1) - model.encode(ct, labels))
    # far from the cut, where no convolution sees it
    assert apart[:, :, [0, -1]].max() > 1e-2


class LiveMemory(TorchDispatchMode):
    """Follows the bytes of all tensors that are made and not yet forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(tensor, torch.Tensor):
                self._note(tensor.untyped_storage())
        return found

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def measure_peak(run: Callable[[], object]) -> int:
    with torch.inference_mode(), LiveMemory() as memory:
        run()
    return memory.peak


def test_parts_need_a_fraction_of_the_memory():
    model = make_autoencoder(channels=(4, 16, 16))
    ct, ids = torch.zeros(1, 1, 64, 32, 32), torch.zeros(1, 32, 16, 16, dtype=torch.long)
    latents = torch.zeros(1, 4, 16, 8, 8)
    whole = measure_peak(lambda: model.decode_scaled(latents, ids))
    peaks = [measure_peak(lambda n=n: SlabAutoencoder(model, n).decode_scaled(latents, ids)) for n in (4, 16)]
    # two volumes of 4 channels stay, beside slabs of the joined 20
    assert whole > 2.2 * peaks[0] > 2.2 * peaks[1]
    assert peaks[1] < 4.5 * 4 * 4 * 64 * 32 * 32
    assert measure_peak(lambda: SlabAutoencoder(model, 16).encode_moments(ct, ids)) < measure_peak(
        lambda: model.encode_moments(ct, ids)
    )


def test_short_memory_splits_and_says_so(monkeypatch, caplog):
    model, forced = make_autoencoder(), make_autoencoder(parts=1)
    ct, labels = make_volume(32, 1)
    with caplog.at_level(logging.WARNING):
        latents = model.encode(ct, labels)
        assert not caplog.records
        monkeypatch.setattr(slabs, "measure_free_memory", lambda device: 2_000_000)
        assert np.array_equal(forced.encode(ct, labels), latents)
        assert not caplog.records
        split = model.encode(ct, labels)
    assert "it is coded in" in caplog.text
    assert not np.array_equal(split, latents)
    assert np.abs(split - latents).max() < 1e-4


def test_free_memory_heeds_the_limits_of_a_job(tmp_path: Path, monkeypatch):
    machine = measure_free_memory(CPU)
    assert machine > 0
    monkeypatch.setattr(memory, "CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN_GROUP", tmp_path / "own")
    for lines, root, limit, use, stat in (
        ("0::/slurm/job/step\n", tmp_path, "memory.max", "memory.current", "inactive_file 5000"),
        (
            "4:memory:/slurm/job\n",
            tmp_path / "memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file 5000",
        ),
    ):
        (tmp_path / "own").write_text(lines)
        group = root / "slurm" / "job"
        group.mkdir(parents=True)
        (group / limit).write_text("max\n" if limit == "memory.max" else f"{2**63 - 4096}\n")
        (group / use).write_text("20000\n")
        (group / "memory.stat").write_text(f"anon 1\n{stat}\n")
        assert measure_free_memory(CPU) > 1_000_000
        (group / limit).write_text("100000\n")
        assert measure_free_memory(CPU) == 85000
