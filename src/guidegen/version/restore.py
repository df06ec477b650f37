"""Brings a committed run back, so that Snakemake has nothing to do."""

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from guidegen.atomic import write_text
from guidegen.errors import GuideGenError, VerificationFailed
from guidegen.study import STATE_FOLDER, Study
from guidegen.version.commit import VERSIONED
from guidegen.version.findings import Verification, describe_errors
from guidegen.version.inventory import PROVENANCE, take_inventory
from guidegen.version.patients import list_withdrawn_at
from guidegen.version.remote import fetch_bulk, require_cached
from guidegen.version.repository import Repository, hold_repository, is_repository, refuse_running, set_remote
from guidegen.version.snakemake_metadata import restore_metadata
from guidegen.version.verify import verify_study


@dataclass(frozen=True)
class RestoredRun:
    """A run that is back on disk."""

    tag: str
    verification: Verification


def restore_run(root: Path, name: str, *, force: bool = False) -> RestoredRun:
    """Bring back config, manifests and bulk of a committed run; may be killed at any point and called again.

    Args:
        root: the study, or a fresh `git clone` of it.
        name: `run/<id>`, `<id>` or any git revision.
        force: give up changes that are in no commit.

    Raises:
        GuideGenError: no such run, changes would be lost, or it holds a patient whose consent was withdrawn.
        VerificationFailed: what came back is not what the manifests say.
    """
    if not is_repository(root):
        raise GuideGenError(f"{root}: no committed study here; `git clone` one")
    with hold_repository(root) as repository, refuse_running(root):
        tag = repository.resolve_tag(name)
        _refuse_withdrawn(repository, tag)
        unfinished = root / STATE_FOLDER / "restoring.json"
        if not unfinished.is_file():
            if not force:
                _refuse_changes(repository)
            folders = [entry.folder.relative_to(root).as_posix() for entry in take_inventory(root).bulk]
            write_text(unfinished, json.dumps(folders))
        _set_job_records_aside(root)
        repository.git("checkout", "--quiet", "--force", "--detach", tag)
        study = Study.load(root)
        _bring_bulk(repository, study)
        _drop_foreign_bulk(root, json.loads(unfinished.read_text(encoding="utf-8")))
        _level_times(root, int(repository.git("log", "-1", "--format=%ct", "HEAD")))
        restore_metadata(root)
        (root / STATE_FOLDER / "run_id").unlink(missing_ok=True)
        unfinished.unlink()
        verification = verify_study(study)
        if verification.errors:
            raise VerificationFailed(describe_errors(verification))
        return RestoredRun(tag, verification)


def _refuse_withdrawn(repository: Repository, tag: str) -> None:
    withdrawn = list_withdrawn_at(repository, tag)
    if withdrawn:
        listing = "\n".join(
            f"  {row['collection']}/{row['patient']}, on {row['date']}"
            + (f": {row['reason']}" if row["reason"] else "")
            for row in withdrawn
        )
        raise GuideGenError(
            f"{repository.root}: {tag} is not restored, it holds patients whose consent was withdrawn:\n{listing}\n"
            f"Its models and figures learned from them. Restore a run made since, or run its config again: "
            f"`git checkout {tag} -- config/config.yaml`. Its small tables can be read: `git show {tag}:results/…`"
        )


def _refuse_changes(repository: Repository) -> None:
    present = [name for name in VERSIONED if (repository.root / name).exists()]
    changed = repository.git("status", "--porcelain", "--untracked-files=all", "--", *present).splitlines()
    records = sorted((repository.root / PROVENANCE).glob("*/*.json"))
    head = float(repository.git("log", "-1", "--format=%ct", "HEAD"))
    newer = [str(path.relative_to(repository.root)) for path in records if path.stat().st_mtime > head + 1]
    if changed or newer:
        listing = "\n".join(f"  {line}" for line in [*changed, *newer][:10])
        raise GuideGenError(
            f"{repository.root}: {len(changed) + len(newer)} change(s) are in no commit and would be lost:\n{listing}\n"
            "Keep them with `guidegen version commit`, or give them up with `--force`."
        )


def _set_job_records_aside(root: Path) -> None:
    """Job records belong to the runs after the restored one; those committed are in their lineage.jsonl."""
    aside = root / STATE_FOLDER / "orphans" / "provenance" / time.strftime("%Y%m%dT%H%M%S")
    for folder in sorted((root / PROVENANCE).glob("*/")):
        aside.mkdir(parents=True, exist_ok=True)
        folder.replace(aside / folder.name)


def _bring_bulk(repository: Repository, study: Study) -> None:
    if not take_inventory(study.root).pointers:
        return
    if set_remote(repository, study.config.version):
        fetch_bulk(repository)
    else:
        require_cached(repository)
    repository.dvc("checkout", "--force")


def _drop_foreign_bulk(root: Path, before: list[str]) -> None:
    """Remove bulk folders of the run that was here before; DVC holds them under that run's tag."""
    kept = {pointer.with_suffix("") for pointer in take_inventory(root).pointers}
    for name in before:
        if root / name not in kept:
            shutil.rmtree(root / name, ignore_errors=True)


def _level_times(root: Path, seconds: int) -> None:
    """Give all files one time: Snakemake reruns what is older than its input, and nothing is older then."""
    for top in ("config", "data", "results"):
        for folder, _, names in os.walk(root / top):
            for name in names:
                os.utime(Path(folder, name), (seconds, seconds))
