"""A node whose own disk is full fails its jobs with a message that says so, and the run goes on without the node."""

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm

FULL = """
rule all:
    input: "part.txt"
rule part:
    output: "part.txt"
    resources: mem_mb=500, runtime=5
    shell:
        "echo $SLURMD_NODENAME >> nodes; head -c 200000 /dev/zero > {scratch}/$SLURMD_NODENAME/part; "
        "echo $SLURMD_NODENAME > {{output}}"
"""


def test_full_disk_of_a_node_is_named_and_the_run_goes_on_without_the_node(
    cluster, start_workflow, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    for node in ("c1", "c2"):
        (scratch / node).mkdir(parents=True)
    cluster.call("scontrol", "update", "NodeName=c2", "State=DRAIN", "Reason=test")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(scratch / "c1")], check=True)
    try:
        assert start_workflow(tmp_path, FULL.format(scratch=scratch), "--retries", "1").wait() == 1
        told = "".join(path.read_text() for path in (tmp_path / ".snakemake" / "slurm_logs").rglob("*.log"))
        assert "No space left on device" in told
        assert (tmp_path / "nodes").read_text().split() == ["c1", "c1"]
        assert not (tmp_path / "part.txt").exists()
        # What the table of failures says: the node's administrator drains it, the run is started again.
        cluster.call("scontrol", "update", "NodeName=c1", "State=DRAIN", "Reason=full")
        cluster.call("scontrol", "update", "NodeName=c2", "State=RESUME")
        again = start_workflow(tmp_path, FULL.format(scratch=scratch))
        assert again.wait() == 0, (tmp_path / "snakemake.log").read_text()
        assert (tmp_path / "part.txt").read_text() == "c2\n"
    finally:
        subprocess.run(["umount", str(scratch / "c1")], check=True)
        for node in ("c1", "c2"):
            cluster.call("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
