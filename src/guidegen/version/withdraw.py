"""Takes a patient whose consent was withdrawn out of the study, for ever.

In this order, so that it may be killed anywhere and called again: the tombstone is committed and tagged; what the
workspace holds of the patient is deleted, with every table and model that was made from it, so that the next run makes
them again; then the objects of DVC's cache and of the remote; at last git learns what is gone.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.index.withdrawn import TAGS, read_withdrawn, withdrawn_table, write_withdrawn
from guidegen.provenance import record_job
from guidegen.study import Study
from guidegen.version.affected import find_affected, list_reruns
from guidegen.version.held_objects import find_held_objects
from guidegen.version.lineage import find_makers, read_lineage
from guidegen.version.patients import split_owner
from guidegen.version.remote import find_missing, open_stores
from guidegen.version.repository import Repository, commit_staged, hold_repository, refuse_running, set_remote, tag_head
from guidegen.version.workspace import Removal, clear_tables, plan_removal


@dataclass(frozen=True)
class Withdrawal:
    """What withdrawing patients deletes, and what must be made again."""

    owners: tuple[str, ...]
    """`<collection>/<patient>`."""
    removal: Removal
    cached: dict[str, str]
    """Object in DVC's cache → path in the study."""
    remote: dict[str, str]
    """Object at the remote → path in the study."""
    remote_name: str
    """Where the remote is; empty where the config names none."""
    jobs: list[str]
    """Jobs that the next run does again."""
    runs: dict[str, list[str]]
    """Committed runs that hold the patients and will not be restored any more."""

    def describe(self) -> str:
        """Return the plan as text."""
        lines = [f"Withdraw {', '.join(self.owners)}:"]
        lines.append(
            f"  deleted in the study: {len(self.removal.files)} file(s), {len(self.removal.folders)} folder(s)"
        )
        lines += [f"    {path}" for path in [*self.removal.folders, *self.removal.files]]
        lines.append(f"  deleted in DVC's cache: {len(self.cached)} object(s)")
        where = self.remote_name or "none configured"
        lines.append(f"  deleted at the remote ({where}): {len(self.remote)} object(s)")
        lines += [f"    {path}" for path in sorted({*self.cached.values(), *self.remote.values()})]
        lines.append(f"  made again by the next `guidegen run`: {len(self.jobs)} job(s)")
        lines += [f"    {job}" for job in self.jobs]
        lines.append(f"  never restored again: {', '.join(self.runs) or 'no committed run holds the patient'}")
        lines.append(
            "  not reached: the sources; other clones and copies; old commits of git, whose tables name the patient"
        )
        return "\n".join(lines)


def plan_withdrawal(study: Study, patient: str) -> Withdrawal:
    """Say what withdrawing a patient would do; deletes nothing.

    Raises:
        GuideGenError: nobody knows the patient, a table is damaged, or the remote does not answer.
    """
    with hold_repository(study.root) as repository:
        return _plan(study, repository, patient)


def withdraw_patient(study: Study, patient: str, reason: str) -> Withdrawal:
    """Withdraw a patient (see the module); returns what was deleted. May be killed at any point and called again.

    Args:
        study: the study.
        patient: PatientID or the patient part of the case ids, as for `find_affected`.
        reason: kept in the tombstone, e.g. a reference to the request; no personal data.

    Raises:
        GuideGenError: as `plan_withdrawal`; what was done by then stays done.
    """
    with hold_repository(study.root) as repository, refuse_running(study.root):
        plan = _plan(study, repository, patient)
        _set_tombstone(repository, plan.owners, reason)
        for folder in plan.removal.folders:
            shutil.rmtree(study.root / folder)
        for file in plan.removal.files:
            (study.root / file).unlink(missing_ok=True)
        clear_tables(study, plan.owners)
        _record_index(study, plan.owners)
        _delete_objects(repository, plan)
        _commit_removal(repository, plan)
        return plan


def _plan(study: Study, repository: Repository, patient: str) -> Withdrawal:
    owners, runs = _identify(study, patient)
    lineage = read_lineage(study.root)
    removal = plan_removal(study, owners)
    jobs = [" ".join([row["phase"], *map(str, row["job"].values())]) for row in list_reruns(lineage, removal.changed)]
    has_remote = set_remote(repository, study.config.version)
    with open_stores(study.root, remote=has_remote) as (cache, remote):
        held = find_held_objects(repository, owners, cache, remote)
        cached = {oid: held[oid] for oid in set(held) - set(find_missing(cache, held))}
        there = {oid: held[oid] for oid in set(held) - set(find_missing(remote, held))} if has_remote else {}
    where = study.config.version.remote
    return Withdrawal(tuple(owners), removal, cached, there, where, jobs, runs)


def _identify(study: Study, patient: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return the patients meant and the runs that hold them; who is gone already is known by the tombstone."""
    withdrawn = {f"{row['collection']}/{row['patient']}" for row in read_withdrawn(study.root)}
    known = sorted(owner for owner in withdrawn if patient in (owner, split_owner(owner)[1]))
    try:
        affected = find_affected(study, patient)
    except GuideGenError:
        if not known:
            raise
        return known, {}
    return sorted({*affected.patients, *known}), affected.runs


def _set_tombstone(repository: Repository, owners: Sequence[str], reason: str) -> None:
    root = repository.root
    rows = read_withdrawn(root)
    known = {(row["collection"], row["patient"]) for row in rows}
    today = time.strftime("%Y-%m-%d", time.gmtime())
    for collection, patient in map(split_owner, owners):
        if (collection, patient) not in known:
            rows.append({"collection": collection, "patient": patient, "date": today, "reason": reason})
    write_withdrawn(root, sorted(rows, key=lambda row: (row["collection"], row["patient"])))
    name = withdrawn_table(root).relative_to(root).as_posix()
    repository.git("add", "--", name)
    if not repository.succeeds("diff", "--cached", "--quiet", "--", name):
        commit_staged(repository, f"Withdraw {', '.join(owners)}\n\n{reason}".strip() + "\n", [name])
    commit = repository.git("log", "-1", "--format=%H", "--", name).strip()
    if not repository.git("tag", "--contains", commit, "--list", f"{TAGS}/*").split():
        tag_head(repository, f"{TAGS}/{today.replace('-', '')}-{commit[:8]}", f"Consent withdrawn\n\n{reason}\n")


def _record_index(study: Study, owners: Sequence[str]) -> None:
    """Write a lineage row for index tables that are not what the job that made them last recorded."""
    makers = find_makers(read_lineage(study.root))
    tables = sorted({study.index_table(split_owner(owner)[0]) for owner in owners})
    changed = []
    for table in tables:
        made = makers.get(table.relative_to(study.root).as_posix())
        if made and table.is_file() and hash_file(table) not in made[-1]["outputs"].values():
            changed.append(table)
    if changed:
        with record_job(study, "index", {"step": "withdraw"}, [withdrawn_table(study.root)], changed):
            pass


def _delete_objects(repository: Repository, plan: Withdrawal) -> None:
    with open_stores(repository.root, remote=bool(plan.remote)) as (cache, remote):
        for store, objects in ((cache, plan.cached), (remote, plan.remote)):
            for oid in objects:
                store.fs.remove(store.oid_to_path(oid))
        left = [*_find_left(cache, plan.cached), *(_find_left(remote, plan.remote) if plan.remote else [])]
    if left:
        raise GuideGenError(f"{repository.root}: {len(left)} object(s) could not be deleted: {', '.join(left[:5])}")


def _find_left(store: object, objects: dict[str, str]) -> list[str]:
    """Return those of the objects that a store still has."""
    return sorted(set(objects) - set(find_missing(store, objects)))


def _commit_removal(repository: Repository, plan: Withdrawal) -> None:
    removed = [*plan.removal.files, *plan.removal.folders, "data/index", "data/cohort/splits.json"]
    tracked = repository.git("ls-files", "-z", "--", *removed).split("\0")[:-1]
    if not tracked:
        return
    repository.git("add", "--all", "--", *tracked)
    if not repository.succeeds("diff", "--cached", "--quiet", "--", *tracked):
        text = f"Remove what was made from data of {', '.join(plan.owners)}\n\nThe next run makes it again.\n"
        commit_staged(repository, text, tracked)
