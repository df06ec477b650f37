"""The reproductions that are written down for the plugin's maintainers still hold; one that does not is good news."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm
REPORTS = Path(__file__).parents[2] / "docs" / "reference" / "slurm-plugin-reports.md"


def read_scripts() -> dict[str, str]:
    """Title → script of each report."""
    return dict(
        re.findall(r"^## (.+?)\n.*?^```sh\n(.*?)^```", REPORTS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    )


@pytest.fixture(scope="module")
def runs(cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, "subprocess.Popen[str]"]:
    """All scripts, started together: most of their time is waiting."""
    path = f"{cluster.environment['PATH']}:{Path(sys.executable).parent}"
    return {
        title: subprocess.Popen(
            ["bash", "-u", "-c", script],
            cwd=tmp_path_factory.mktemp("report"),
            env={**cluster.environment, "PATH": path, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for title, script in read_scripts().items()
    }


@pytest.mark.parametrize("title", read_scripts())
def test_the_report_still_holds(title: str, runs: dict[str, "subprocess.Popen[str]"]) -> None:
    told, _ = runs[title].communicate(timeout=900)
    print(told)
    assert "REPRODUCED: " in told, f"mended in the plugin? Then take it out of {REPORTS.name}.\n{told}"
