"""The jobs that a whole study consists of, by phase: what `Snakefile` and `rules/` would run from nothing."""

from dataclasses import dataclass
from pathlib import Path

from guidegen.evaluate.settings import EVALUATIONS
from guidegen.stages import STAGES
from guidegen.study import Study


@dataclass(frozen=True)
class PlannedJob:
    """One job. Paths are relative to the study."""

    name: str
    """What it works on, e.g. `tcga_luad/s000`."""
    log: str
    """The log file that its rule names; no two jobs have the same, so that it also identifies the job."""
    outputs: tuple[str, ...]

    @property
    def benchmark(self) -> str:
        """The file that Snakemake writes the job's seconds and memory to."""
        return f"{self.log.removesuffix('.log')}.benchmark.tsv"

    def is_done(self, root: Path) -> bool:
        """Whether all outputs are there; whether they are current, only Snakemake knows (`guidegen run -- -n`)."""
        return all((root / output).is_file() for output in self.outputs)


def plan_jobs(study: Study) -> dict[str, list[PlannedJob]]:
    """Return the jobs of each phase, in the phases' order.

    Raises:
        GuideGenError: the index was not built yet, so that the shards are unknown.
    """
    collections = list(study.collections)
    shards = [(name, shard) for name in collections for shard in study.list_shards(name)]
    config = study.config

    def by_shard(phase: str, folder: str) -> list[PlannedJob]:
        return [
            PlannedJob(f"{name}/{shard}", f"logs/{phase}/{name}-{shard}.log", (f"data/{folder}/{name}/{shard}.tsv",))
            for name, shard in shards
        ]

    def single(phase: str, *outputs: str) -> list[PlannedJob]:
        return [PlannedJob(phase, f"logs/{phase}/{phase}.log", outputs)]

    clinical = [
        PlannedJob(f"{name}/clinical", f"logs/retrieve/{name}-clinical.log", (f"data/raw/{name}/clinical.tsv",))
        for name in collections
    ]
    prompts = [
        PlannedJob(f"{name}/prompts", f"logs/synthesize/{name}-plan.log", (f"results/synthetic/{name}/prompts.tsv",))
        for name in config.synthesize.sets
    ]
    sets = {name: f"results/synthetic/{name}" for name in config.synthesize.sets}
    summaries = [
        PlannedJob(f"{name}/summary", f"logs/synthesize/{name}-summary.log", (f"{folder}/summary.json",))
        for name, folder in sets.items()
    ]
    synthetic = [
        PlannedJob(f"{name}/{shard}", f"logs/synthesize/{name}-{shard}.log", (f"results/synthetic/{name}/{shard}.tsv",))
        for name in config.synthesize.sets
        for shard in config.synthesize.list_shards(name)
    ]
    return {
        "retrieve": [*by_shard("retrieve", "raw"), *clinical],
        "convert": by_shard("convert", "ct"),
        "mask": by_shard("mask", "mask"),
        "pair": [PlannedJob(name, f"logs/pair/{name}.log", (f"data/text/{name}.tsv",)) for name in collections],
        "prepare": single("prepare", *(f"data/cohort/{name}.tsv" for name in ("cohort", "arrays", "text"))),
        "train": [PlannedJob(name, f"logs/train/{name}.log", (f"results/models/{name}.tsv",)) for name in STAGES],
        "synthesize": [*prompts, *synthetic, *summaries],
        "segment": [
            PlannedJob(arm, f"logs/segment/{arm}.log", (f"results/segmentation/{arm}.tsv",))
            for arm in config.segment.list_runs()
        ],
        "evaluate": single("evaluate", *(f"results/evaluation/{name}.json" for name in EVALUATIONS)),
        "report": single("report", "results/report/index.html", "results/report/viewer.tsv"),
    }
