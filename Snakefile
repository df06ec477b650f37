"""GuideGen: from twelve collections of DICOM to segmenters trained on synthetic CT.

Run it in a study folder: `guidegen run --study DIR`, or plain `snakemake --cores 2` inside one.
The index is built before the workflow (`guidegen index`; `guidegen run` does it) and frozen.
"""

from pathlib import Path

from snakemake.utils import min_version

from guidegen.cluster.site import Site, find_site_file
from guidegen.codehash import code_hash
from guidegen.errors import GuideGenError
from guidegen.study import Study

min_version("9.0")

try:
    study = Study.load(Path.cwd())
    SHARDS = {name: study.list_shards(name) for name in study.collections}
    SITE = Site.read(find_site_file(study.root))
except GuideGenError as error:
    raise WorkflowError(str(error)) from None


include: "rules/common.smk"
include: "rules/retrieve.smk"
include: "rules/convert.smk"
include: "rules/mask.smk"
include: "rules/pair.smk"
include: "rules/prepare.smk"
include: "rules/train.smk"
include: "rules/synthesize.smk"
include: "rules/segment.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        "results/report/index.html",


rule data:
    """Everything up to the cohort: what a lab wants before it books GPUs."""
    input:
        "data/cohort/cohort.tsv",


rule models:
    input:
        expand("results/models/{stage}.tsv", stage=STAGES),


localrules:
    all,
    data,
    models,
