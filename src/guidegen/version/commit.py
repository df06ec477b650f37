"""Gives a finished run a name: bulk into DVC, everything small into git, and a tag that says where it came from."""

import hashlib
import json
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError, VerificationFailed
from guidegen.progress import track_progress
from guidegen.provenance import describe_code
from guidegen.study import STATE_FOLDER, Study
from guidegen.version.findings import Verification, describe_errors
from guidegen.version.inventory import Inventory, take_inventory
from guidegen.version.lineage import Row, find_makers, read_lineage, write_lineage
from guidegen.version.remote import push_bulk
from guidegen.version.repository import Repository, commit_staged, hold_repository, refuse_running, set_remote, tag_head
from guidegen.version.signing import is_signed, require_signing_key
from guidegen.version.snakemake_metadata import save_metadata
from guidegen.version.verify import verify_study

log = logging.getLogger(__name__)
LARGEST_TABLE = 50_000_000
"""Bytes; a larger file outside a bulk folder does not belong in git."""
DIRECTORY_HASH = re.compile(r"[0-9a-f]{32}\.dir$")
VERSIONED = (".gitignore", ".dvcignore", ".dvc", "config", "data", "results")


@dataclass(frozen=True)
class CommittedRun:
    """A run that has a name."""

    tag: str
    commit: str
    new: bool
    """False where the study was already committed just as it is."""
    pushed_to: str
    verification: Verification


def commit_run(study: Study, *, allow_dirty: bool = False, message: str = "", sign: bool = False) -> CommittedRun:
    """Verify, store, push, commit and tag the study as it is; may be killed at any point and called again.

    Args:
        study: the study; its folder becomes a repository if it is none yet.
        allow_dirty: commit although the code had uncommitted changes; the tag then says so for ever.
        message: what the user wants to say about the run.
        sign: sign the tag with the user's git key; a run that was committed without gets its signature then.

    Raises:
        GuideGenError: the code is dirty, git has no key to sign with, or git or DVC failed.
        VerificationFailed: something on disk is not what manifests, index or lineage say.
    """
    with hold_repository(study.root) as repository, refuse_running(study.root):
        if sign:
            require_signing_key(repository)
        lineage = read_lineage(study.root)
        dirt = _find_dirt(lineage)
        if dirt and not allow_dirty:
            raise GuideGenError(
                "the code has uncommitted changes, nobody could say later what made this run:\n  "
                + "\n  ".join(dirt[:5])
                + "\nCommit the code and run again, or pass --allow-dirty; the tag will say so for ever."
            )
        verification = verify_study(study, pointers=False)
        if verification.errors:
            raise VerificationFailed(describe_errors(verification))
        with track_progress("commit", 4, "steps") as advance:
            inventory = take_inventory(study.root)
            _store_bulk(repository, inventory)
            advance(1, "stored in DVC's cache")
            pushed_to = study.config.version.remote if set_remote(repository, study.config.version) else ""
            if pushed_to:
                push_bulk(repository)
            advance(1, f"pushed to {pushed_to}" if pushed_to else "no remote configured")
            write_lineage(study.root, lineage)
            save_metadata(study.root)
            tables = _list_tables(study.root, inventory)
            content = hash_content(study, tables)
            new_commit = _commit_tables(repository, content, message)
            advance(1, "committed to git")
            description = _describe_run(study, content, verification, dirt, message)
            tag, new_tag = _tag_run(repository, content, description, sign=sign)
            advance(1, tag)
        (study.root / STATE_FOLDER / "run_id").unlink(missing_ok=True)
        commit = repository.git("rev-parse", "HEAD").strip()
        return CommittedRun(tag, commit, new_commit or new_tag, pushed_to, verification)


def hash_content(study: Study, tables: Sequence[Path]) -> str:
    """Return the hash of what a run consists of: config, manifests and tables, 8 hex digits.

    Lineage (times, hosts), DVC's pointers (which follow from the manifests), where jobs ran and where bulk is copied to
    do not count, so that two equal runs have equal hashes.
    """
    config = study.config.model_dump(mode="json", exclude={"version", "environments"})
    texts = sorted(path for path in (study.root / "config").rglob("*.tsv") if path.is_file())
    entries = {path.relative_to(study.root).as_posix(): hash_file(path) for path in [*texts, *tables]}
    return hashlib.sha256(json.dumps([config, entries], sort_keys=True).encode()).hexdigest()[:8]


def _find_dirt(lineage: list[Row]) -> list[str]:
    """Say what was made by code that no commit holds: code as it is now, and jobs whose outputs are current."""
    code = describe_code()
    found = [f"code as installed: {code}"] if code.endswith("-dirty") else []
    latest = {id(rows[-1]): rows[-1] for rows in find_makers(lineage).values()}
    jobs = sorted(f"{row['run']}/{row['file']}" for row in latest.values() if row["code_commit"].endswith("-dirty"))
    return found + [f"made by uncommitted code: {job}" for job in jobs]


def _store_bulk(repository: Repository, inventory: Inventory) -> None:
    for pointer in inventory.pointers:
        if not _is_pointer(pointer):
            log.warning("%s: cut short by a killed commit, written again", pointer)
            pointer.unlink()
    for pointer in inventory.stray_pointers:
        pointer.unlink(missing_ok=True)
    full = [entry for entry in inventory.bulk if entry.folder.is_dir() and any(entry.folder.iterdir())]
    for entry in inventory.bulk:
        if entry not in full:
            entry.pointer.unlink(missing_ok=True)
    if full:
        folders = [entry.folder.relative_to(repository.root).as_posix() for entry in full]
        repository.dvc("add", "--no-relink", *folders)


def _is_pointer(path: Path) -> bool:
    try:
        tree = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        entry = tree["outs"][0]
        return bool(DIRECTORY_HASH.match(entry["md5"])) and {"size", "nfiles", "hash", "path"} <= set(entry)
    except (YAMLError, UnicodeDecodeError, KeyError, IndexError, TypeError):
        return False


def _list_tables(root: Path, inventory: Inventory) -> list[Path]:
    tables = sorted([*inventory.manifests, *inventory.tables])
    for path in tables:
        if path.stat().st_size > LARGEST_TABLE:
            raise GuideGenError(
                f"{path.relative_to(root)}: {path.stat().st_size >> 20} MiB outside any bulk folder; "
                "git holds small files only, a bulk file needs a manifest beside its folder"
            )
    return tables


def _commit_tables(repository: Repository, content: str, message: str) -> bool:
    present = [name for name in VERSIONED if (repository.root / name).exists()]
    repository.git("add", "--all", "--", *present)
    if repository.succeeds("diff", "--cached", "--quiet"):
        return False
    commit_staged(repository, f"run {content}\n\n{message}".strip() + "\n")
    return True


def _tag_run(repository: Repository, content: str, description: str, *, sign: bool) -> tuple[str, bool]:
    """Return the run's tag on HEAD and whether it is new; the tag is `run/<UTC day>-<content hash>[.<number>]`."""
    here = [tag for tag in repository.git("tag", "--points-at", "HEAD", "--list", "run/*").split() if content in tag]
    if here:
        if sign and not is_signed(repository, here[0]):
            stated = repository.git("for-each-ref", f"refs/tags/{here[0]}", "--format=%(contents)")
            tag_head(repository, here[0], stated, sign=True)
        return here[0], False
    name = first = f"run/{time.strftime('%Y%m%d', time.gmtime())}-{content}"
    taken, number = set(repository.list_tags()), 1
    while name in taken:
        number += 1
        name = f"{first}.{number}"
    tag_head(repository, name, f"{name}\n\n{description}", sign=sign)
    return name, True


def _describe_run(study: Study, content: str, verification: Verification, dirt: Sequence[str], message: str) -> str:
    lines = [message, ""] if message else []
    lines += [
        f"Study: {study.config.study.name}",
        f"Seed: {study.config.study.seed}",
        f"Code: {describe_code()}",
        f"Dirty: {'yes' if dirt else 'no'}",
        *[f"Dirty-Reason: {reason}" for reason in dirt[:20]],
        f"Content: {content}",
        f"Config: {hash_file(study.root / 'config' / 'config.yaml')}",
        f"Manifests: {verification.manifests}",
        f"Files: {verification.files}",
        f"Bytes: {verification.bytes}",
    ]
    return "\n".join(lines) + "\n"
