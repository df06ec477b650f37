"""What the shard tests work with; a module of its own, because worker processes import it by name."""

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

from guidegen.errors import ItemError, ItemExcluded
from guidegen.manifest import Item, Outcome, Shard, process_items


def make_shard(root: Path) -> Shard:
    parts = ("data", "ct", "lung", "s000")
    return Shard(
        root=root,
        manifest=root.joinpath(*parts[:-1], "s000.tsv"),
        bulk=root.joinpath(*parts),
        state=root.joinpath(".guidegen", "state", *parts),
        orphans=root.joinpath(".guidegen", "orphans", *parts),
        title="/".join(parts),
    )


def write_files(item: Item, folder: Path) -> Outcome:
    """Count the call, then write two files or fail as the payload says."""
    calls, mode = item.payload
    (calls / f"{item.case}-{time.monotonic_ns()}").touch()
    if mode == "exclude":
        raise ItemExcluded("too few slices")
    if mode == "fail":
        raise ItemError("slice 3 is missing")
    if mode == "crash":
        raise ZeroDivisionError("division\nby zero")
    if mode == "leave":
        sys.exit("no licence")
    if mode == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "slow":
        time.sleep(0.15)
    (folder / f"{item.case}.nii.gz").write_text(f"volume of {item.case} from {sorted(item.inputs.items())}")
    (folder / f"{item.case}.source.nii.gz").write_text(f"labels of {item.case}")
    return Outcome(
        files={"": f"{item.case}.nii.gz", "source": f"{item.case}.source.nii.gz"}, columns={"shape": (1, 2, 3)}
    )


COLUMNS = ("source_path", "source_bytes", "source_sha256", "shape")


class Runs:
    """A shard, the items of it, and how often each was worked on."""

    def __init__(self, root: Path) -> None:
        self.shard = make_shard(root)
        self.calls = root / "calls"
        self.calls.mkdir(parents=True, exist_ok=True)

    def items(self, *cases: str, mode: str = "", version: str = "1") -> list[Item]:
        return [Item(case, {"series": version}, (self.calls, mode)) for case in cases]

    def run(self, items: list[Item], **options) -> list[dict[str, str]]:
        options = {"fingerprint": "f", "columns": COLUMNS} | options
        return process_items(self.shard, items, write_files, **options)

    def take_calls(self) -> list[str]:
        names = sorted(path.name.split("-")[0] for path in self.calls.iterdir())
        for path in self.calls.iterdir():
            path.unlink()
        return names

    def hash_all(self) -> dict[str, str]:
        files = [path for path in self.shard.manifest.parent.rglob("*") if path.is_file()]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}
