"""Sets aside what verification condemned, so that the next run makes it again; nothing is deleted."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from guidegen.study import STATE_FOLDER, Study
from guidegen.version.findings import Finding, Verification
from guidegen.version.inventory import PROVENANCE, BulkFolder, take_inventory
from guidegen.version.lineage import LINEAGE, find_makers, read_lineage
from guidegen.version.remote import open_stores, push_bulk
from guidegen.version.remote_check import hash_object
from guidegen.version.repository import Repository, hold_repository, refuse_running, set_remote

FROM_GIT = ("data/index/", "data/cohort/splits.json", LINEAGE.as_posix())
"""What no job can make again as it was: the frozen index, the state of the splits, the lineage."""
REMADE = ("data/", "results/")


@dataclass
class Repair:
    """What was done about a verification's findings."""

    aside: list[str] = field(default_factory=list)
    """Files and tables that were moved into the state folder; the next run makes those again that belong there."""
    restored: list[str] = field(default_factory=list)
    """Files that were taken from the last commit."""
    pushed: int = 0
    """Objects that were copied to the remote again."""
    left: list[Finding] = field(default_factory=list)
    """What somebody must look at."""
    folder: str = ""
    """Where things were set aside, relative to the study."""

    def describe(self) -> str:
        """Return it as text."""
        lines = [f"set aside in {self.folder}: {path}" for path in self.aside]
        lines += [f"taken from the last commit: {path}" for path in self.restored]
        lines += [f"copied to the remote again: {self.pushed} object(s)"] if self.pushed else []
        lines += [f"left, needs a person: {entry.kind}: {entry.path}: {entry.message}" for entry in self.left]
        if self.aside:
            lines.append("`guidegen run` makes again what is missing; then `guidegen version verify`")
        return "\n".join(lines) or "nothing to repair"


def repair_study(study: Study, verification: Verification) -> Repair:
    """Act on the errors of a verification. May be interrupted: verify and call again.

    Raises:
        GuideGenError: a run is at work, or the remote does not answer.
    """
    with hold_repository(study.root) as repository, refuse_running(study.root):
        worker = _Repairer(study, repository)
        for finding in verification.errors:
            worker.treat(finding)
        return worker.finish()


class _Repairer:
    def __init__(self, study: Study, repository: Repository) -> None:
        self.study = study
        self.repository = repository
        self.done = Repair(folder=f"{STATE_FOLDER}/orphans/repair/{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
        self.bulk = take_inventory(study.root).bulk
        self.remote: list[Finding] = []

    def treat(self, finding: Finding) -> None:
        """Do what can be done about one finding."""
        if finding.kind == "remote":
            self.remote.append(finding)
        elif finding.path.startswith(f"{PROVENANCE.as_posix()}/") and finding.path.endswith(".json"):
            self._set_aside(finding.path)
        elif finding.kind == "pointer" or finding.path.startswith(FROM_GIT):
            self._restore(finding)
        elif finding.kind == "signature" or not finding.path.startswith(REMADE):
            self.done.left.append(finding)
        elif entry := self._find_bulk(finding.path):
            self._set_aside(finding.path)
            if finding.kind != "unexplained":
                self._mark_stale(entry, finding.case)
        elif finding.case:
            entry = next((e for e in self.bulk if self._name(e.manifest) == finding.path), None)
            self._mark_stale(entry, finding.case) if entry else self._set_aside(finding.path)
        else:
            self._set_aside(finding.path)

    def finish(self) -> Repair:
        """Heal the remote; a repaired splits file decides the cohort anew."""
        if self.remote:
            self._push()
        if "data/cohort/splits.json" in self.done.restored:
            self._set_aside("data/cohort/cohort.tsv")
        return self.done

    def _name(self, path: Path) -> str:
        return path.relative_to(self.study.root).as_posix()

    def _find_bulk(self, path: str) -> BulkFolder | None:
        return next((entry for entry in self.bulk if path.startswith(f"{self._name(entry.folder)}/")), None)

    def _mark_stale(self, entry: BulkFolder, case: str) -> None:
        """Forget an item, and set its manifest aside: a missing output is what Snakemake makes again."""
        record = self.study.root / STATE_FOLDER / "state" / self._name(entry.folder) / f"{case}.json"
        record.unlink(missing_ok=True)
        self._set_aside(self._name(entry.manifest))

    def _set_aside(self, name: str) -> None:
        path = self.study.root / name
        if not path.is_symlink() and not path.is_file():
            return
        target = self.study.root / self.done.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        self.done.aside.append(name)

    def _restore(self, finding: Finding) -> None:
        """Take a file from the last commit where it has another one; else somebody must decide."""
        name = finding.path
        if name in self.done.restored:
            return
        if name == LINEAGE.as_posix():
            self._drop_damaged_records()
        committed = self.repository.succeeds("cat-file", "-e", f"HEAD:{name}")
        if committed and not self.repository.succeeds("diff", "--quiet", "HEAD", "--", name):
            self._set_aside(name)
            self.repository.git("checkout", "--quiet", "HEAD", "--", name)
            self.done.restored.append(name)
        elif name != LINEAGE.as_posix():
            self.done.left.append(finding)

    def _drop_damaged_records(self) -> None:
        """Set unreadable job records aside, and with them what no readable one explains."""
        damaged = []
        for path in sorted((self.study.root / PROVENANCE).glob("*/*.json")):
            try:
                row = json.loads(path.read_text(encoding="utf-8"))
                broken = not {"phase", "start", "outputs", "inputs", "code_commit"} <= set(row)
            except (ValueError, TypeError):
                broken = True
            if broken:
                damaged.append(path)
                self._set_aside(self._name(path))
        if damaged:
            explained = set(find_makers(read_lineage(self.study.root)))
            for entry in self.bulk:
                if self._name(entry.manifest) not in explained:
                    self._set_aside(self._name(entry.manifest))

    def _push(self) -> None:
        """Delete corrupted objects at the remote and copy everything that it lacks from the cache."""
        set_remote(self.repository, self.study.config.version)
        with open_stores(self.study.root) as (cache, remote):
            for finding in self.remote:
                oid = finding.case
                if hash_object(cache, oid) != oid.partition(".")[0]:
                    self.done.left.append(finding)
                elif hash_object(remote, oid):
                    remote.fs.remove(remote.oid_to_path(oid))
        if not self.done.left:
            self.done.pushed = push_bulk(self.repository)
