"""segment: one segmenter per arm, all judged on the same real test patients."""

ARMS = study.config.segment.arms


rule segment:
    input:
        cohort="data/cohort/cohort.tsv",
        arrays="data/cohort/arrays.tsv",
        synthetic=lambda wildcards: (
            expand_set(ARMS[wildcards.arm].synthetic)
            if ARMS[wildcards.arm].synthetic
            else []
        ),
    output:
        "results/segmentation/{arm}.tsv",
    log:
        "logs/segment/{arm}.log",
    benchmark:
        "logs/segment/{arm}.benchmark.tsv"
    threads: THREADS
    resources:
        mem_mb=grow(16000),
        runtime=grow(720),
        gpu=1,
    params:
        command=CORE,
        code=code_hash("segment"),
        settings=settings("segment", "prepare.grid"),
        labels=study.labels_hash,
    shell:
        "{params.command} segment --arm {wildcards.arm} > {log} 2>&1"
