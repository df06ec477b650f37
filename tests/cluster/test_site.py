"""Rules ask for no more than the site file allows; what fits nowhere would go to the cluster's default partition."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from guidegen.assets import ASSETS
from guidegen.cluster.site import NO_LIMITS, Site, find_site_file
from guidegen.errors import GuideGenError

SITE = """
partitions:
  long: {max_runtime: 5-00:00:00, max_mem_mb: 40000}
  gpu: {max_runtime: 8h, max_mem_mb: 60000, max_gpu: 4}
"""


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    return path


def test_needs_are_cut_to_what_a_partition_with_the_gpus_allows(site_file: Path) -> None:
    limits = Site.read(site_file)
    assert limits.cap_minutes(10_000, 0) == 7200
    assert limits.cap_minutes(10_000, 2) == 480
    assert limits.cap_minutes(20, 2) == 20
    assert limits.cap_memory(100_000, 2) == 60000


def test_without_a_fitting_partition_nothing_is_cut(site_file: Path, tmp_path: Path) -> None:
    for limits in (Site.read(site_file), Site.read(tmp_path / "none"), Site.read(Path(NO_LIMITS))):
        assert limits.cap_minutes(10_000, 8) == 10_000


@pytest.mark.parametrize("text", ["partitions: [", "partitions:\n  cpu: {max_runtime: soon}\n"])
def test_broken_site_file_is_named(site_file: Path, text: str) -> None:
    site_file.write_text(text)
    with pytest.raises(GuideGenError, match=re.escape(str(site_file))):
        Site.read(site_file)


def test_site_file_is_the_studys_or_the_one_that_the_environment_names(
    tmp_path: Path, site_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GUIDEGEN_SLURM", raising=False)
    assert find_site_file(tmp_path) == tmp_path / "config" / "slurm.yaml"
    monkeypatch.setenv("GUIDEGEN_SLURM", str(site_file))
    assert find_site_file(tmp_path) == site_file


def test_last_attempt_of_every_rule_fits_the_site(smoke_study: Path, site_file: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ASSETS / "Snakefile"), "--directory"]
    command += [str(smoke_study), "--forceall", "--dry-run", "--cores", "1", "--attempt", "3"]
    environment = os.environ | {"GUIDEGEN_SLURM": str(site_file)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    needs = {
        rule: {key: int(value) for key, value in re.findall(r"\b(mem_mb|runtime)=(\d+)", resources)}
        for rule, resources in re.findall(
            r"^rule (\w+):\n(?:    .*\n)*?    resources: (.*)$", done.stdout, re.MULTILINE
        )
    }
    assert needs["convert"] == {"mem_mb": 12000, "runtime": 180}
    assert needs["segment"] == {"mem_mb": 48000, "runtime": 480}
    assert needs["train"] == {"mem_mb": 60000, "runtime": 480}
