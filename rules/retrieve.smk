"""retrieve: one archive file per series, checked; downloads are exempt from code changes."""


rule retrieve:
    input:
        index=ancient("data/index/{collection}.tsv"),
    output:
        "data/raw/{collection}/{shard}.tsv",
    log:
        "logs/retrieve/{collection}-{shard}.log",
    benchmark:
        "logs/retrieve/{collection}-{shard}.benchmark.tsv"
    resources:
        mem_mb=grow_memory(2000),
        runtime=grow_minutes(240),
    params:
        command=CORE,
        rows=lambda wildcards: study.hash_index(wildcards.collection, wildcards.shard),
    shell:
        "{params.command} retrieve --collection {wildcards.collection} --shard {wildcards.shard} > {log} 2>&1"


rule retrieve_clinical:
    input:
        index=ancient("data/index/{collection}.tsv"),
    output:
        "data/raw/{collection}/clinical.tsv",
    log:
        "logs/retrieve/{collection}-clinical.log",
    resources:
        mem_mb=grow_memory(1000),
        runtime=grow_minutes(30),
    params:
        command=CORE,
        patients=lambda wildcards: study.hash_patients(wildcards.collection),
    shell:
        "{params.command} retrieve --collection {wildcards.collection} --clinical > {log} 2>&1"


localrules:
    retrieve,
    retrieve_clinical,
