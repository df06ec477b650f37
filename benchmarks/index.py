"""index and dry run: the twelve collections among a million series, and ten times as many of theirs."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LONGEST_S, LARGEST_MB, MOST_JOBS = 10.0, 600.0, 2000
ROOT = Path(__file__).parents[1]
TIMES = 10
MEASURE = """
import resource, sys, time
start = time.perf_counter()
from pathlib import Path
import idc_index_data
if len(sys.argv) > 2:
    idc_index_data.IDC_INDEX_PARQUET_FILEPATH = Path(sys.argv[2])
from guidegen.index.build import build_index
from guidegen.study import Study
build_index(Study.load(Path(sys.argv[1])))
usage = resource.getrusage(resource.RUSAGE_SELF)
print(time.perf_counter() - start, usage.ru_maxrss / 1e3, usage.ru_utime + usage.ru_stime)
"""
READ_WHOLE = """
import resource, sys, time
start = time.perf_counter()
import idc_index_data, pandas
table = pandas.read_parquet(sys.argv[1] if len(sys.argv) > 1 else idc_index_data.IDC_INDEX_PARQUET_FILEPATH)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(time.perf_counter() - start, usage.ru_maxrss / 1e3, usage.ru_utime + usage.ru_stime)
"""
MULTIPLY = """
import csv, sys
import idc_index_data, pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq
wanted = pa.array([row["collection"] for row in csv.DictReader(open(sys.argv[2]), delimiter="\\t")])
file = pq.ParquetFile(idc_index_data.IDC_INDEX_PARQUET_FILEPATH)
text = file.schema_arrow.field("PatientID").type
with pq.ParquetWriter(sys.argv[1], file.schema_arrow) as out:
    for batch in file.iter_batches():
        out.write_batch(batch)
        ours = batch.filter(pc.is_in(batch.column("collection_id"), wanted.cast(text)))
        for number in range(1, int(sys.argv[3])):
            columns = {name: ours.column(name) for name in ours.schema.names}
            for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
                end = pa.scalar(str(number), text)
                columns[name] = pc.binary_join_element_wise(columns[name], end, pa.scalar(".", text))
            out.write_batch(pa.record_batch(columns, schema=ours.schema))
"""


def measure(code: str, *arguments: str) -> tuple[float, float, float]:
    """Run code in a fresh interpreter; returns seconds, peak memory in MB and CPU seconds, which it prints last."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    seconds, megabytes, cpu = done.stdout.split()[-3:]
    return float(seconds), float(megabytes), float(cpu)


def make_study(root: Path) -> None:
    """A study with the config as shipped; the IDC's tables of annotations are not fetched."""
    (root / "config").mkdir(parents=True)
    for table in ("collections.tsv", "labels.tsv", "source_labels.tsv"):
        (root / "config" / table).write_text((ROOT / "config" / table).read_text())
    text = (ROOT / "config" / "config.yaml").read_text()
    place = text.index("idc_tables_url:")
    (root / "config" / "config.yaml").write_text(
        f"{text[:place]}idc_tables_url: ''\n{text[text.index(chr(10), place) + 1 :]}"
    )


def measure_dry_run(root: Path) -> tuple[float, float, float, int]:
    """Run `snakemake -n` of the whole study; returns seconds, peak memory in MB, CPU seconds, and number of jobs."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--directory",
        str(root),
        "-n",
    ]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--quiet", "rules"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(text[-2000:])
    total = next(line for line in text.splitlines() if line.split()[:1] == ["total"])
    return seconds, usage.ru_maxrss / 1e3, usage.ru_utime + usage.ru_stime, int(total.split()[1])


def rows() -> list[dict[str, Any]]:
    """Measure time and memory of index and dry run, at the study's size and at ten times as many series."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        large = Path(name) / "large.parquet"
        subprocess.run(
            [sys.executable, "-c", MULTIPLY, large, ROOT / "config" / "collections.tsv", str(TIMES)], check=True
        )
        for title, table in (("twelve collections", []), (f"twelve collections x {TIMES}", [str(large)])):
            root = Path(name) / f"study{len(table)}"
            make_study(root)
            found += compare(f"index {title}", measure(MEASURE, str(root), *table), measure(READ_WHOLE, *table))
            seconds, megabytes, cpu, jobs = measure_dry_run(root)
            common = {"name": f"dry run {title}"}
            found.append(goal(common, "time", "s", seconds, LONGEST_S, f"{cpu:.1f} s of CPU, "))
            found.append(goal(common, "memory", "MB", megabytes, LARGEST_MB))
            found.append(goal(common, "jobs", "jobs", jobs, MOST_JOBS))
    return found


def compare(name: str, ours: tuple[float, ...], whole: tuple[float, ...]) -> list[dict[str, Any]]:
    """Rows of time and memory beside the reading of the whole table."""
    common = {"name": name, "baseline_name": "pandas.read_parquet of the whole index, nothing selected"}
    return [
        goal(common, "time", "s", ours[0], LONGEST_S, f"{ours[2]:.1f} s of CPU, ") | {"baseline": whole[0]},
        goal(common, "memory", "MB", ours[1], LARGEST_MB) | {"baseline": whole[1]},
    ]


def goal(common: dict[str, Any], what: str, unit: str, value: float, most: float, cpu: str = "") -> dict[str, Any]:
    """A row whose goal is an upper limit; `cpu` says what a quiet machine would take."""
    load = f" ({cpu}machine load {os.getloadavg()[0]:.0f})"
    row = common | {"name": f"{common['name']}: {what}", "unit": unit, "ours": value}
    return row | {"goal": f"under {most:g} {unit}{load}", "holds": value < most}
