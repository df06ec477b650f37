"""evaluate: every figure with its interval, and what it was computed from."""


rule evaluate:
    input:
        cohort="data/cohort/cohort.tsv",
        arrays="data/cohort/arrays.tsv",
        models=MODELS,
        synthetic=[table for name in SETS for table in expand_set(name)],
        segmentation=expand("results/segmentation/{arm}.tsv", arm=ARMS),
    output:
        expand("results/evaluation/{table}.json", table=EVALUATIONS),
    log:
        "logs/evaluate/evaluate.log",
    benchmark:
        "logs/evaluate/evaluate.benchmark.tsv"
    threads: THREADS
    resources:
        mem_mb=grow_memory(16000),
        runtime=grow_minutes(240),
    params:
        command=CORE,
        code=code_hash("evaluate"),
        settings=settings("evaluate", "segment.arms", "segment.external"),
        labels=study.labels_hash,
    shell:
        "{params.command} evaluate > {log} 2>&1"
