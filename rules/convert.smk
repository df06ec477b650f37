"""convert: DICOM to NIfTI in HU and RAS+, with proof that the geometry is the headers'."""


rule convert:
    input:
        "data/raw/{collection}/{shard}.tsv",
    output:
        "data/ct/{collection}/{shard}.tsv",
    log:
        "logs/convert/{collection}-{shard}.log",
    benchmark:
        "logs/convert/{collection}-{shard}.benchmark.tsv"
    resources:
        mem_mb=grow_memory(4000),
        runtime=grow_minutes(60),
    params:
        command=CORE,
        code=code_hash("convert"),
        settings=settings("convert"),
    shell:
        "{params.command} convert --collection {wildcards.collection} --shard {wildcards.shard} > {log} 2>&1"
