"""The profile runs workflows on real daemons and survives what happens on clusters."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm

CHAIN = """
rule all:
    input: "sum.txt"
rule part:
    output: "part{n}.txt"
    resources: mem_mb=900, runtime=5
    shell: "echo $SLURM_JOB_ID > {output}"
rule sum:
    input: expand("part{n}.txt", n=range(3)), "gpu.json"
    output: "sum.txt"
    shell: "cat {input} > {output}"
rule train:
    output: "gpu.json"
    resources: gpu=2
    shell: 'printf \\'{{"devices": "%s", "partition": "%s"}}\\' $CUDA_VISIBLE_DEVICES $SLURM_JOB_PARTITION > {output}'
"""


def test_chain_runs_in_the_partitions_that_fit(cluster, start_workflow, tmp_path: Path) -> None:
    assert start_workflow(tmp_path, CHAIN).wait() == 0, (tmp_path / "snakemake.log").read_text()
    job = (tmp_path / "part1.txt").read_text().strip()
    assert cluster.call("sacct", "-X", "-n", "-P", "-o", "Partition,Account", "-j", job) == "cpu|study"
    gpu = json.loads((tmp_path / "gpu.json").read_text())
    assert gpu["partition"] == "gpu"
    assert len(gpu["devices"].split(",")) == 2
    assert "--gpus=h200:2" in (tmp_path / "snakemake.log").read_text()
