"""mask: sided source labels and the torso label map of every case.

A collection with the backend `totalsegmentator` runs in the segmentation environment, on a GPU where its device is one.
"""


rule mask:
    input:
        raw="data/raw/{collection}/{shard}.tsv",
        ct="data/ct/{collection}/{shard}.tsv",
    output:
        "data/mask/{collection}/{shard}.tsv",
    log:
        "logs/mask/{collection}-{shard}.log",
    benchmark:
        "logs/mask/{collection}-{shard}.benchmark.tsv"
    resources:
        mem_mb=grow(8000),
        runtime=grow(240),
        gpu=count_mask_gpus,
    params:
        code=code_hash("mask"),
        settings=settings("mask"),
        labels=study.labels_hash,
        command=lambda wildcards: (
            SEGMENTATION if uses_totalsegmentator(wildcards) else CORE
        ),
    shell:
        "{params.command} mask --collection {wildcards.collection} --shard {wildcards.shard} > {log} 2>&1"
