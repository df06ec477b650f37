"""segment: one segmenter per arm, set size and seed, all judged on the same real test patients.

nnU-Net runs in the segmentation environment.
"""

SEGMENT = study.config.segment
ARMS = SEGMENT.list_runs()


rule segment:
    input:
        cohort="data/cohort/cohort.tsv",
        arrays="data/cohort/arrays.tsv",
        synthetic=find_synthetic,
    output:
        "results/segmentation/{arm}.tsv",
    log:
        "logs/segment/{arm}.log",
    benchmark:
        "logs/segment/{arm}.benchmark.tsv"
    threads: THREADS
    resources:
        mem_mb=grow_memory(16000, gpus=1),
        runtime=grow_minutes(720, gpus=1),
        gpu=1,
    params:
        command=SEGMENTATION if SEGMENT.backend == "nnunet" else CORE,
        code=code_hash("segment"),
        settings=settings(
            "segment", "prepare.grid", "evaluate.memorised_below", "evaluate.hu_window"
        ),
        labels=study.labels_hash,
    shell:
        "{params.command} segment --arm {wildcards.arm} > {log} 2>&1"
