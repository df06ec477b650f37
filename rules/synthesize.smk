"""synthesize: prompt tables, then label maps and CTs shard by shard."""

SETS = tuple(study.config.synthesize.sets)
MODELS = expand("results/models/{stage}.tsv", stage=STAGES)


rule synthesize_plan:
    input:
        cohort="data/cohort/cohort.tsv",
        text="data/cohort/text.tsv",
    output:
        "results/synthetic/{name}/prompts.tsv",
    log:
        "logs/synthesize/{name}-plan.log",
    resources:
        mem_mb=grow(2000),
        runtime=grow(30),
    params:
        command=CORE,
        code=code_hash("synthesize"),
        settings=settings("synthesize"),
    shell:
        "{params.command} synthesize --plan --set {wildcards.name} > {log} 2>&1"


rule synthesize:
    input:
        prompts="results/synthetic/{name}/prompts.tsv",
        cohort="data/cohort/cohort.tsv",
        models=MODELS,
    output:
        "results/synthetic/{name}/{shard}.tsv",
    log:
        "logs/synthesize/{name}-{shard}.log",
    benchmark:
        "logs/synthesize/{name}-{shard}.benchmark.tsv"
    threads: THREADS
    resources:
        mem_mb=grow(16000),
        runtime=grow(240),
        gpu=1,
    params:
        command=CORE,
        code=code_hash("synthesize", "models"),
        settings=settings("synthesize", "prepare"),
        labels=study.labels_hash,
    shell:
        "{params.command} synthesize --set {wildcards.name} --shard {wildcards.shard} > {log} 2>&1"


localrules:
    synthesize_plan,
