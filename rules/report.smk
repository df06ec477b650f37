"""report: a page that opens offline, with the volumes that its viewer shows."""


rule report:
    input:
        index=[f"data/index/{name}.tsv" for name in SHARDS],
        ct=expand_shards("ct"),
        mask=expand_shards("mask"),
        text=expand("data/text/{collection}.tsv", collection=SHARDS),
        cohort="data/cohort/cohort.tsv",
        models=MODELS,
        synthetic=[table for name in SETS for table in expand_set(name)],
        summaries=expand("results/synthetic/{name}/summary.json", name=list(SETS)),
        segmentation=expand("results/segmentation/{arm}.tsv", arm=ARMS),
        evaluation=expand("results/evaluation/{table}.json", table=EVALUATIONS),
    output:
        "results/report/index.html",
        "results/report/viewer.tsv",
    log:
        "logs/report/report.log",
    benchmark:
        "logs/report/report.benchmark.tsv"
    resources:
        mem_mb=grow_memory(8000),
        runtime=grow_minutes(60),
    params:
        command=CORE,
        code=code_hash("report"),
        settings=settings("report", "study"),
        labels=study.labels_hash,
    shell:
        "{params.command} report > {log} 2>&1"


localrules:
    report,
