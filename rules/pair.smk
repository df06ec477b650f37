"""pair: clinical rows, headers and measurements to prompts, each statement with its source."""


rule pair:
    input:
        clinical="data/raw/{collection}/clinical.tsv",
        ct=lambda wildcards: expand_shards("ct", [wildcards.collection]),
        mask=lambda wildcards: expand_shards("mask", [wildcards.collection]),
    output:
        "data/text/{collection}.tsv",
    log:
        "logs/pair/{collection}.log",
    benchmark:
        "logs/pair/{collection}.benchmark.tsv"
    resources:
        mem_mb=grow_memory(2000),
        runtime=grow_minutes(30),
    params:
        command=CORE,
        code=code_hash("pair"),
        settings=settings("pair"),
        reports=lambda wildcards: hash_reports(study, wildcards.collection),
    shell:
        "{params.command} pair --collection {wildcards.collection} > {log} 2>&1"
