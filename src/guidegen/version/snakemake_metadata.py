"""What Snakemake remembers of each output, kept with the run so that a restored study knows what is out of date.

Snakemake compares parameters, inputs and code with the record of the job that made an output. Without records it looks
at file times only, and a restored study would then not notice a changed config.
"""

import json
from pathlib import Path

from guidegen.atomic import replace_folder, write_text
from guidegen.version.inventory import PROVENANCE

METADATA = Path(".snakemake", "metadata")
SAVED = PROVENANCE / "snakemake.jsonl"


def save_metadata(root: Path) -> None:
    """Copy Snakemake's records into `results/provenance/snakemake.jsonl`; without records nothing changes."""
    folder = root / METADATA
    records = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            record = json.loads(path.read_text(encoding="utf-8"))
            records.append(json.dumps({"file": path.relative_to(folder).as_posix(), "record": record}, sort_keys=True))
    if records:
        write_text(root / SAVED, "\n".join(records) + "\n")


def restore_metadata(root: Path) -> int:
    """Put the records of the restored run in the place of those of another run; return their number."""
    saved = root / SAVED
    lines = saved.read_text(encoding="utf-8").splitlines() if saved.is_file() else []
    with replace_folder(root / METADATA) as folder:
        for line in lines:
            entry = json.loads(line)
            path = folder / entry["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(entry["record"]), encoding="utf-8")
    return len(lines)
