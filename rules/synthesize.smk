"""synthesize: prompt tables, then label maps and CTs shard by shard, then what the gates rejected."""

from guidegen.synthesize.settings import check_segmenters

SETS = study.config.synthesize.sets
MODELS = expand("results/models/{stage}.tsv", stage=STAGES)

try:
    check_segmenters(SETS, study.config.segment)
except GuideGenError as error:
    raise WorkflowError(str(error)) from None


rule synthesize_plan:
    input:
        cohort="data/cohort/cohort.tsv",
        text="data/cohort/text.tsv",
        table=find_table,
    output:
        "results/synthetic/{name}/prompts.tsv",
    log:
        "logs/synthesize/{name}-plan.log",
    resources:
        mem_mb=grow_memory(2000),
        runtime=grow_minutes(30),
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
        segmenter=find_segmenter,
    output:
        "results/synthetic/{name}/{shard}.tsv",
    log:
        "logs/synthesize/{name}-{shard}.log",
    benchmark:
        "logs/synthesize/{name}-{shard}.benchmark.tsv"
    threads: THREADS
    resources:
        mem_mb=grow_memory(16000, gpus=1),
        runtime=grow_minutes(240, gpus=1),
        gpu=1,
    params:
        command=CORE,
        code=code_hash("synthesize", "models"),
        settings=settings("synthesize", "prepare"),
        labels=study.labels_hash,
    shell:
        "{params.command} synthesize --set {wildcards.name} --shard {wildcards.shard} > {log} 2>&1"


rule synthesize_summary:
    input:
        prompts="results/synthetic/{name}/prompts.tsv",
        shards=lambda wildcards: expand_set(wildcards.name),
    output:
        "results/synthetic/{name}/summary.json",
    log:
        "logs/synthesize/{name}-summary.log",
    resources:
        mem_mb=grow_memory(2000),
        runtime=grow_minutes(30),
    params:
        command=CORE,
        code=code_hash("synthesize.summary"),
        settings=settings("synthesize"),
    shell:
        "{params.command} synthesize --summary --set {wildcards.name} > {log} 2>&1"


localrules:
    synthesize_plan,
    synthesize_summary,
