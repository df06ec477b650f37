"""Disk, download, CPU hours and GPU hours of a study, from its frozen index and the measured costs of `costs.tsv`."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from guidegen.estimate.networks import NetworkCosts, count_networks
from guidegen.study import Study
from guidegen.tables import read_tsv

COSTS = Path(__file__).with_name("costs.tsv")
COLUMNS = ("phase", "resource", "per", "value", "measured")
GB = 1e9
CHECKPOINT_COPIES = 4
"""Weights, their average, and the two moments of AdamW."""
SEGMENTER_COPIES = 2
"""In the results, and in the state folder, from which they come without another training."""


@dataclass
class PhaseEstimate:
    """What one phase costs. `gpu_h` is 0 where a phase needs none."""

    phase: str
    jobs: int
    download_gb: float = 0.0
    disk_gb: float = 0.0
    cpu_h: float = 0.0
    gpu_h: float = 0.0
    without_gpu_h: float = 0.0
    """Hours of `study.threads` CPU cores that stand for `gpu_h` on a machine without a GPU."""
    petaflop: float = 0.0
    """10^15 floating-point operations of the networks."""


@dataclass
class Estimate:
    """What a study costs."""

    phases: list[PhaseEstimate]
    notes: list[str] = field(default_factory=list)
    """What the figures leave out or only assume."""

    def total(self, name: str) -> float:
        """Return the sum of a figure over all phases."""
        return sum(getattr(phase, name) for phase in self.phases)

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        names = ("jobs", "download_gb", "disk_gb", "cpu_h", "gpu_h", "without_gpu_h")
        return asdict(self) | {"total": {name: self.total(name) for name in names}}


class Costs:
    """The measured costs: `costs[phase, resource, per]`."""

    def __init__(self) -> None:
        rows = read_tsv(COSTS, COLUMNS)
        self._values = {(row["phase"], row["resource"], row["per"]): float(row["value"]) for row in rows}

    def __getitem__(self, key: tuple[str, str, str]) -> float:
        return self._values[key]

    def cpu_h(self, phase: str, jobs: int, units: float, per: str) -> float:
        """Return CPU hours: start-up of the jobs, and so much for each unit of work."""
        return (jobs * self[phase, "cpu_s", "job"] + units * self[phase, "cpu_s", per]) / 3600


def estimate_study(study: Study) -> Estimate:
    """Estimate a study whose index was built.

    Raises:
        GuideGenError: the index was not built yet; names the command.
    """
    costs = Costs()
    rows = [row | {"collection": name} for name in study.collections for row in study.read_index(name)]
    shards = {(row["collection"], row["shard"]) for row in rows}
    remote = {name for name, collection in study.collections.items() if collection.source in ("idc", "nbia")}
    all_gb = sum(int(row["bytes"]) for row in rows) / GB
    ct_gb = sum(int(row["bytes"]) for row in rows if row["role"] == "ct") / GB
    fetched_gb = sum(int(row["bytes"]) for row in rows if row["collection"] in remote) / GB
    cases = len({row["case"] for row in rows if row["role"] == "ct"})
    names, count = len(study.collections), len(shards)
    networks = count_networks(study)
    phantoms = _find_phantoms(study)
    data = [
        PhaseEstimate("index", 0, disk_gb=sum(_measure_collection(study, name) for name in phantoms) / GB),
        PhaseEstimate("retrieve", count + names, fetched_gb, all_gb, costs.cpu_h("retrieve", count, all_gb, "GB")),
        PhaseEstimate("convert", count, cpu_h=costs.cpu_h("convert", count, ct_gb, "GB")),
        PhaseEstimate("mask", count, cpu_h=costs.cpu_h("mask", count, ct_gb, "GB")),
        PhaseEstimate(
            "pair", names, 0, cases * costs["pair", "disk_gb", "case"], costs.cpu_h("pair", names, cases, "case")
        ),
        _estimate_prepare(study, costs, cases),
    ]
    for phase in data[2:4]:
        for row in rows:
            if row["role"] == "ct":
                unit = "phantom GB" if row["collection"] in phantoms else "GB"
                phase.disk_gb += int(row["bytes"]) / GB * costs[phase.phase, "disk_gb", unit]
    parts = [*data, *_estimate_models(study, costs, cases, networks)]
    return Estimate(parts, _list_notes(study))


def _find_phantoms(study: Study) -> set[str]:
    """Return the collections of the embedded archive, which takes disk in the study itself."""
    if study.config.index.phantom is None:
        return set()
    return {name for name, collection in study.collections.items() if collection.source == "archive"}


def _measure_collection(study: Study, name: str) -> int:
    """Return the bytes of all series of a collection, used or not."""
    excluded = read_tsv(study.index_table(name).with_name(f"{name}.excluded.tsv"), ["bytes"])
    return sum(int(row["bytes"]) for row in [*study.read_index(name), *excluded])


def _estimate_prepare(study: Study, costs: Costs, cases: int) -> PhaseEstimate:
    grid = study.config.prepare.grid
    voxels = cases * ((2 * grid) ** 3 + grid**3) / 1e6
    disk = cases * ((2 * (2 * grid) ** 3 + grid**3) / GB + costs["prepare", "disk_gb", "case"])
    return PhaseEstimate("prepare", 1, 0, disk, costs.cpu_h("prepare", 1, voxels, "Mvoxel"))


def _estimate_models(study: Study, costs: Costs, cases: int, networks: NetworkCosts) -> list[PhaseEstimate]:
    config, grid = study.config, study.config.prepare.grid
    sets = config.synthesize.sets
    generated = sum(entry.cases for entry in sets.values())
    test = cases * config.prepare.splits.test
    train = PhaseEstimate("train", 4)
    _spend(train, sum(networks.training.values()) + cases * networks.encoding, study, costs)
    channels = config.train.contrast_autoencoder.model.latent_channels
    train.disk_gb = cases * 2 * channels * (grid // 2) ** 3 / GB
    for stage, size in networks.weights.items():
        kept = getattr(config.train, stage).optimization.checkpoints_kept
        train.disk_gb += size * (1 + CHECKPOINT_COPIES * (kept + 1)) / GB
    synthesize = PhaseEstimate("synthesize", sum(2 + len(config.synthesize.list_shards(name)) for name in sets))
    _spend(synthesize, generated * networks.sampling.operations, study, costs)
    synthesize.disk_gb = generated * 2 * (2 * grid) ** 3 / GB * costs["synthesize", "disk_gb", "GB"]
    runs = len(config.segment.list_runs())
    segment = PhaseEstimate("segment", runs)
    _spend(segment, runs * networks.segmenter, study, costs)
    segment.disk_gb = runs * (test * grid**3 + SEGMENTER_COPIES * networks.segmenter_weights) / GB
    judged = (generated + runs * test) * grid**3 / 1e6
    evaluate = PhaseEstimate("evaluate", 1, cpu_h=costs.cpu_h("evaluate", 1, judged, "Mvoxel"))
    report = PhaseEstimate("report", 1, 0, costs["report", "disk_gb", "job"], costs["report", "cpu_s", "job"] / 3600)
    return [train, synthesize, segment, evaluate, report]


def _spend(phase: PhaseEstimate, operations: float, study: Study, costs: Costs) -> None:
    """Turn floating-point operations into hours."""
    phase.petaflop = operations / 1e15
    phase.gpu_h = operations / (costs["networks", "tflop_per_s", "GPU"] * 1e12) / 3600
    cores = costs["networks", "gflop_per_s", "core"] * study.config.study.threads
    phase.without_gpu_h = operations / (cores * 1e9) / 3600


def _list_notes(study: Study) -> list[str]:
    config = study.config
    rate = Costs()["networks", "tflop_per_s", "GPU"]
    notes = [
        f"GPU hours assume {rate:g} TFLOP/s, which was not measured; divide the petaflop by what your GPU reaches",
        "each synthetic case is counted once; gates that reject make it more, at most "
        f"{config.synthesize.max_attempts} times",
    ]
    if _find_phantoms(study):
        notes.insert(0, "disk of index is the embedded archive: all its series, used or not")
    uses = {name for name in study.collections if config.mask.uses("totalsegmentator", name)}
    if uses:
        notes.append(f"without TotalSegmentator, which labels {', '.join(sorted(uses))}: it was not measured")
    notes.append("disk of train counts the last checkpoints and one more, the best; removing `.guidegen` frees them")
    notes.append("`guidegen version commit` keeps a second copy of all bulk in DVC's cache")
    return notes
