"""train: the three stages; checkpoints live in the state folder, so that a retry resumes."""

LATENT_INPUTS = {
    "latents": ["contrast_autoencoder"],
    "latent_generator": ["contrast_autoencoder", "latents"],
}
DEVICES = study.config.train.devices
NODES = study.config.train.nodes
REQUEUE_CODE = 75


def own_settings(stage):
    """The stage's section of the config and what all stages read; `latents` has none."""
    return [] if stage == "latents" else [f"train.{stage}", "train.collection_shares"]


def count_processes(wildcards):
    """Processes, one per GPU, that train a stage; one stores the latents."""
    return 1 if wildcards.stage == "latents" else DEVICES * NODES


def count_nodes(wildcards):
    """Nodes that a stage runs on."""
    return 1 if wildcards.stage == "latents" else NODES


def launch(wildcards):
    """The job step of a SLURM job: all its processes, of which the training library learns from SLURM's variables.

    The step is named here and not by the executor, so that SIGUSR1 reaches the training alone.
    """
    nodes, processes = count_nodes(wildcards), count_processes(wildcards)
    return (
        f"srun --overlap --nodes={nodes} --ntasks={processes} --ntasks-per-node={processes // nodes} "
        f"--cpus-per-task={THREADS} --kill-on-bad-exit=1 --unbuffered"
    )


rule train:
    input:
        cohort="data/cohort/cohort.tsv",
        arrays="data/cohort/arrays.tsv",
        text="data/cohort/text.tsv",
        stages=lambda wildcards: expand(
            "results/models/{stage}.tsv", stage=LATENT_INPUTS.get(wildcards.stage, [])
        ),
    output:
        "results/models/{stage}.tsv",
    log:
        "logs/train/{stage}.log",
    benchmark:
        "logs/train/{stage}.benchmark.tsv"
    threads: lambda wildcards: THREADS * count_processes(wildcards) // count_nodes(wildcards)
    resources:
        mem_mb=grow(32000),
        # no growth: a training that reaches its time limit goes on in the next job
        runtime=1440,
        gpu=count_processes,
        cpus_per_task=THREADS,
        nodes=count_nodes,
        tasks=count_processes,
        # SLURM is told of nodes and tasks, and not of tasks per GPU
        tasks_per_gpu=0,
        # the executor leaves the job step to the shell line below, with one process (0) or several (1)
        mpi=lambda wildcards: int(count_processes(wildcards) > 1),
        # two minutes before the time limit: write a checkpoint
        slurm_extra=lambda wildcards: (
            "--signal=USR1@120 "
            f"--ntasks-per-node={count_processes(wildcards) // count_nodes(wildcards)}"
        ),
    params:
        command=CORE,
        code=code_hash("train", "models"),
        settings=lambda wildcards: settings(
            "prepare.grid", *own_settings(wildcards.stage)
        ),
        labels=study.labels_hash,
        launch=launch,
        requeue=REQUEUE_CODE,
    shell:
        # A job that wrote a checkpoint is put back into the queue by itself: that costs no retry.
        'launch=; if [ -n "${{SLURM_JOB_ID:-}}" ]; then launch="{params.launch}"; fi; '
        "$launch {params.command} train {wildcards.stage} > {log} 2>&1 || {{ code=$?; "
        'if [ $code = {params.requeue} ] && [ -n "${{SLURM_JOB_ID:-}}" ]; then '
        "scontrol requeue $SLURM_JOB_ID && sleep 300; fi; exit $code; }}"
