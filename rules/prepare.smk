"""prepare: the cohort, patient-disjoint splits, arrays and token states for training.

`data/cohort/splits.json` is state, not output: it keeps every patient in the split it once got.
"""


rule prepare:
    input:
        ct=expand_shards("ct"),
        mask=expand_shards("mask"),
        text=expand("data/text/{collection}.tsv", collection=SHARDS),
    output:
        cohort="data/cohort/cohort.tsv",
        arrays="data/cohort/arrays.tsv",
        text="data/cohort/text.tsv",
    log:
        "logs/prepare/prepare.log",
    benchmark:
        "logs/prepare/prepare.benchmark.tsv"
    threads: THREADS
    resources:
        mem_mb=grow_memory(16000),
        runtime=grow_minutes(480),
    params:
        command=CORE,
        code=code_hash("prepare"),
        settings=settings("prepare"),
        labels=study.labels_hash,
    shell:
        "{params.command} prepare > {log} 2>&1"


localrules:
    prepare,
