"""index: selecting the twelve collections among a million series, in a process of its own."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LONGEST_S, LARGEST_MB = 10.0, 600.0
CONFIG = Path(__file__).parents[1] / "config"
MEASURE = """
import resource, sys, time
start = time.perf_counter()
from pathlib import Path
from guidegen.index.build import build_index
from guidegen.study import Study
build_index(Study.load(Path(sys.argv[1])))
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
"""
READ_WITH_CLIENT = """
import resource, time
start = time.perf_counter()
import idc_index_data, pandas
table = pandas.read_parquet(idc_index_data.IDC_INDEX_PARQUET_FILEPATH)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
"""


def measure(code: str, *arguments: str) -> tuple[float, float]:
    """Run code in a fresh interpreter; returns seconds and peak memory in MB, which it prints last."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    seconds, megabytes = done.stdout.split()[-2:]
    return float(seconds), float(megabytes)


def rows() -> list[dict[str, Any]]:
    """Measure time and memory of the index of the twelve collections."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "config").mkdir()
        for table in ("collections.tsv", "labels.tsv", "source_labels.tsv"):
            (Path(name) / "config" / table).write_text((CONFIG / table).read_text())
        (Path(name) / "config" / "config.yaml").write_text("index: {source: idc, idc_tables_url: ''}\n")
        seconds, megabytes = measure(MEASURE, name)
    whole_seconds, whole_megabytes = measure(READ_WITH_CLIENT)
    common = {"baseline_name": "pandas.read_parquet of the whole index, nothing selected"}
    return [
        common
        | {"name": "index twelve collections: time", "unit": "s", "ours": seconds, "baseline": whole_seconds}
        | {"goal": f"under {LONGEST_S:g} s", "holds": seconds < LONGEST_S},
        common
        | {"name": "index twelve collections: memory", "unit": "MB", "ours": megabytes, "baseline": whole_megabytes}
        | {"goal": f"under {LARGEST_MB:g} MB", "holds": megabytes < LARGEST_MB},
    ]
