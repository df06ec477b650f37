"""mask: sided source labels and the torso label map of every case.

A collection with the backend `totalsegmentator` runs in the segmentation environment, on a GPU where its device is one.
"""


rule fetch_weights:
    """Bring in TotalSegmentator's weights and state their checksums; on the login node, exempt from code changes."""
    output:
        update("data/mask/weights.tsv"),
    log:
        "logs/mask/weights.log",
    resources:
        mem_mb=grow_memory(2000),
        runtime=grow_minutes(120),
    params:
        command=SEGMENTATION,
        speed=study.config.mask.totalsegmentator.speed,
    shell:
        "{params.command} mask --fetch-weights > {log} 2>&1"


rule mask:
    input:
        raw="data/raw/{collection}/{shard}.tsv",
        ct="data/ct/{collection}/{shard}.tsv",
        weights=lambda wildcards: (
            "data/mask/weights.tsv" if uses_totalsegmentator(wildcards) else []
        ),
    output:
        "data/mask/{collection}/{shard}.tsv",
    log:
        "logs/mask/{collection}-{shard}.log",
    benchmark:
        "logs/mask/{collection}-{shard}.benchmark.tsv"
    resources:
        mem_mb=grow_memory(8000, gpus=count_mask_gpus),
        runtime=grow_minutes(240, gpus=count_mask_gpus),
        gpu=count_mask_gpus,
    params:
        code=code_hash("mask"),
        settings=settings("mask"),
        labels=study.labels_hash,
        names=lambda wildcards: hash_names(study, wildcards.collection),
        command=lambda wildcards: (
            SEGMENTATION if uses_totalsegmentator(wildcards) else CORE
        ),
    shell:
        "{params.command} mask --collection {wildcards.collection} --shard {wildcards.shard} > {log} 2>&1"


localrules:
    fetch_weights,
