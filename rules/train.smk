"""train: the three stages; checkpoints live in the state folder, so that a retry resumes."""

LATENT_INPUTS = {
    "latents": ["contrast_autoencoder"],
    "latent_generator": ["contrast_autoencoder", "latents"],
}


def own_settings(stage):
    """The stage's section of the config; `latents` has none."""
    return [] if stage == "latents" else [f"train.{stage}"]


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
    threads: THREADS
    resources:
        mem_mb=grow(32000),
        runtime=grow(2880),
        gpu=1,
    params:
        command=CORE,
        code=code_hash("train", "models"),
        settings=lambda wildcards: settings(
            "prepare.grid", *own_settings(wildcards.stage)
        ),
        labels=study.labels_hash,
    shell:
        "{params.command} train {wildcards.stage} > {log} 2>&1"
