"""train: the three stages; checkpoints live in the state folder, so that a retry resumes."""

LATENT_INPUTS = {
    "latents": ["contrast_autoencoder"],
    "latent_generator": ["contrast_autoencoder", "latents"],
}


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
    # the longest jobs of a study begin first
    priority: 1
    threads: lambda wildcards: THREADS * count_processes(wildcards) // count_nodes(wildcards)
    resources:
        mem_mb=grow_memory(32000, gpus=count_processes),
        # no growth: a training that reaches its time limit goes on in the next job
        runtime=lambda wildcards: SITE.cap_minutes(1440, count_processes(wildcards)),
        gpu=count_processes,
        cpus_per_task=THREADS,
        nodes=count_nodes,
        tasks=count_processes,
        # SLURM is told of nodes and tasks, and not of tasks per GPU
        tasks_per_gpu=0,
        # the executor leaves the job step to the shell line below, with one process (0) or several (1)
        mpi=lambda wildcards: int(count_processes(wildcards) > 1),
        slurm_extra=ask_for_training,
    params:
        command=CORE,
        code=code_hash("train", "models"),
        settings=lambda wildcards: settings(
            "prepare.grid", *name_settings(wildcards.stage)
        ),
        labels=study.labels_hash,
        launch=launch_training,
        requeue=REQUEUE_CODE,
    shell:
        # Snakemake removes the log before every attempt; that of a training that goes on goes on, too.
        "if [ -e {log}.before ]; then mv {log}.before {log}; fi; "
        # A job that wrote a checkpoint is put back into the queue by itself: that costs no retry.
        'launch=; if [ -n "${{SLURM_JOB_ID:-}}" ]; then launch="{params.launch}"; fi; '
        "$launch {params.command} train {wildcards.stage} >> {log} 2>&1 || {{ code=$?; "
        "if [ $code = {params.requeue} ]; then cp {log} {log}.before; "
        'if [ -n "${{SLURM_JOB_ID:-}}" ]; then scontrol requeue $SLURM_JOB_ID && sleep 300; fi; fi; exit $code; }}'
