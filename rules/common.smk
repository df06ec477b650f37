"""What all rules share: wildcards, commands, and the parameters that decide what is out of date."""

import sys

from guidegen.cluster.orphans import cancel_orphans
from guidegen.mask.names import hash_names
from guidegen.pair.reports import hash_reports
from guidegen.train.signals import REQUEUE_CODE
from guidegen.evaluate.settings import EVALUATIONS
from guidegen.stages import STAGES
from guidegen.synthesize.settings import TOTALSEGMENTATOR
from snakemake.logging import logger

CORE = study.config.environments.core
SEGMENTATION = study.config.environments.segmentation
THREADS = study.config.study.threads
TRAIN = study.config.train


wildcard_constraints:
    collection="[a-z0-9_]+",
    shard=r"s\d+",
    stage="|".join(STAGES),
    arm=r"[a-z_]+(-n\d+)?(-s\d+)?",
    name="[a-z0-9_]+",


def settings(*sections):
    """Hash of the config sections that a phase reads: a rule's parameter, so that only its jobs rerun on a change."""
    return study.config.hash_sections(*sections)


def grow_memory(megabytes, gpus=0):
    """Memory that a retry gets more of, up to what a partition with so many GPUs allows."""
    return lambda wildcards, attempt: SITE.cap_memory(
        megabytes * attempt, gpus(wildcards) if callable(gpus) else gpus
    )


def grow_minutes(minutes, gpus=0):
    """Minutes that a retry gets more of, up to what a partition with so many GPUs allows."""
    return lambda wildcards, attempt: SITE.cap_minutes(
        minutes * attempt, gpus(wildcards) if callable(gpus) else gpus
    )


def expand_shards(phase, collections=SHARDS):
    """Manifests of a phase over all shards of the given collections."""
    return [
        f"data/{phase}/{collection}/{shard}.tsv"
        for collection in collections
        for shard in SHARDS[collection]
    ]


def uses_totalsegmentator(wildcards):
    """Whether a collection is labelled by TotalSegmentator."""
    return study.config.mask.uses("totalsegmentator", wildcards.collection)


def count_mask_gpus(wildcards):
    """GPUs of a mask job: one where TotalSegmentator runs on one."""
    on_gpu = study.config.mask.totalsegmentator.device.startswith("gpu")
    return int(uses_totalsegmentator(wildcards) and on_gpu)


def expand_set(name):
    """Manifests of a synthetic set."""
    shards = study.config.synthesize.list_shards(name)
    return [f"results/synthetic/{name}/{shard}.tsv" for shard in shards]


def find_synthetic(wildcards):
    """Manifests of the synthetic set that a segmenter learns from."""
    segment = study.config.segment
    name = segment.arms[segment.list_runs()[wildcards.arm].arm].synthetic
    return expand_set(name) if name else []


def find_table(wildcards):
    """The file that a set's prompts come from, where it has one."""
    table = study.config.synthesize.sets[wildcards.name].table
    return [table] if table else []


def find_segmenter(wildcards):
    """Manifest of the training that judges a set, where one does; it learns from no synthetic set."""
    name = study.config.synthesize.sets[wildcards.name].segmenter
    return (
        [] if name in ("", TOTALSEGMENTATOR) else [f"results/segmentation/{name}.tsv"]
    )


def cancel_earlier_jobs():
    """Cancel the study's jobs in SLURM's queue: while Snakemake holds the study's lock, they are those of a dead run."""
    try:
        jobs = cancel_orphans(study.root) if workflow.execution_settings.lock else []
    except GuideGenError as error:
        raise WorkflowError(str(error)) from None
    if jobs:
        logger.info(f"Cancelled {len(jobs)} jobs of an earlier run: {', '.join(jobs)}")


onstart:
    cancel_earlier_jobs()


# A Ctrl-C that comes in the middle of a status query finds no job to cancel: the executor has its list in hand.
onerror:
    cancel_earlier_jobs()


def name_settings(stage):
    """The stage's section of the config and what all stages read; `latents` has none."""
    return [] if stage == "latents" else [f"train.{stage}", "train.collection_shares"]


def count_processes(wildcards):
    """Processes, one per GPU, that train a stage; one stores the latents."""
    return 1 if wildcards.stage == "latents" else TRAIN.devices * TRAIN.nodes


def count_nodes(wildcards):
    """Nodes that a stage runs on."""
    return 1 if wildcards.stage == "latents" else TRAIN.nodes


def ask_for_training(wildcards):
    """What sbatch is told of a training besides its resources: a warning two minutes before the time limit, and where
    its processes go. Of the GPUs of a job on several nodes SLURM would give one node more than another.
    """
    nodes, processes = count_nodes(wildcards), count_processes(wildcards)
    options = f"--signal=USR1@120 --ntasks-per-node={processes // nodes}"
    if nodes > 1:
        model = f"{SITE.gpu_model}:" if SITE.gpu_model else ""
        options += f" --gpus-per-node={model}{processes // nodes}"
    return options


def launch_training(wildcards):
    """The job step of a SLURM job: all its processes, of which the training library learns from SLURM's variables.

    The step is named here and not by the executor, so that SIGUSR1 reaches the training alone.
    """
    nodes, processes = count_nodes(wildcards), count_processes(wildcards)
    return (
        f"srun --overlap --nodes={nodes} --ntasks={processes} --ntasks-per-node={processes // nodes} "
        f"--cpus-per-task={THREADS} --kill-on-bad-exit=1 --unbuffered"
    )


# The environment that runs Snakemake comes first, so that `guidegen` is this one even where it was not activated.
# Threads that wait for each other sleep soon: on a machine that has other work two of them took ten times as long.
shell.prefix(
    f"export PATH='{Path(sys.executable).parent}':\"$PATH\" "
    f"OMP_NUM_THREADS={THREADS} MKL_NUM_THREADS={THREADS} OPENBLAS_NUM_THREADS={THREADS} GOMP_SPINCOUNT=3000; "
)
