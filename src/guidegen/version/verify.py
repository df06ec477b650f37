"""Compares what lies on disk with what manifests, index, cohort and lineage say of it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from guidegen.errors import GuideGenError
from guidegen.manifest import file_columns
from guidegen.progress import track_progress
from guidegen.study import Study
from guidegen.version.committed import check_committed
from guidegen.version.findings import Finding, Verification
from guidegen.version.inventory import BulkFolder, Inventory, hash_files, parse_size, take_inventory
from guidegen.version.lineage import check_lineage
from guidegen.version.remote_check import check_remote
from guidegen.version.repository import Repository, is_repository
from guidegen.version.sample import recompute_sample
from guidegen.version.signing import check_signatures
from guidegen.version.tracing import check_tracing


@dataclass(frozen=True)
class StatedFile:
    """A file that a manifest row names."""

    path: Path
    bytes: int
    sha256: str
    case: str
    manifest: str


def verify_study(
    study: Study, workers: int | None = None, *, pointers: bool = True, remote: bool = False, sample: int = 0
) -> Verification:
    """Hash all bulk and compare it with the manifests; trace rows to the index; check splits, licences and lineage, and
    what may not change since the last commit.

    Args:
        study: the study.
        workers: threads that read and hash; default one per CPU.
        pointers: check DVC's pointers; `commit` does not, because it writes them anew.
        remote: read and hash the objects at the remote, too.
        sample: number of items, drawn at random, to make again and compare.

    Raises:
        GuideGenError: `remote` is asked for and there is none, or it does not answer.
    """
    inventory = take_inventory(study.root)
    result = Verification(manifests=len(inventory.bulk))
    stated: dict[Path, StatedFile] = {}
    for entry in inventory.bulk:
        try:
            _collect_stated(study.root, entry, stated)
        except GuideGenError as error:
            result.findings.append(Finding("manifest", _relative(study.root, entry.manifest), str(error)))
            continue
        result.findings += _find_unexplained(study.root, entry, stated)
    result.findings += _find_strays(study.root, inventory)
    result.findings += _check_contents(study.root, stated, workers or os.cpu_count() or 1)
    result.findings += check_tracing(study)
    result.findings += check_lineage(study.root, inventory)
    result.findings += check_committed(study.root, inventory, pointers=pointers)
    if is_repository(study.root):
        result.findings += check_signatures(Repository(study.root))
    if remote:
        result.remote = True
        result.findings += check_remote(study, workers or os.cpu_count() or 1)
    if sample:
        result.recomputed, differing = recompute_sample(study, sample)
        result.findings += differing
    result.files = len(stated)
    result.bytes = sum(file.bytes for file in stated.values())
    result.findings.sort(key=lambda finding: (finding.warning, finding.path, finding.kind, finding.message))
    return result


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _collect_stated(root: Path, entry: BulkFolder, stated: dict[Path, StatedFile]) -> None:
    """Add the files of one manifest to `stated`. Raises GuideGenError where the manifest contradicts itself."""
    manifest = _relative(root, entry.manifest)
    seen: set[str] = set()
    for row in entry.read_rows():
        case = row["case"]
        if not case or case in seen:
            raise GuideGenError(f"{manifest}: case '{case}' is {'used twice' if case else 'empty'}")
        seen.add(case)
        if row["status"] not in ("ok", "excluded", "failed"):
            raise GuideGenError(f"{manifest}: case {case}: status is '{row['status']}', not ok, excluded or failed")
        for file in _read_stated(root, entry, row):
            if file.path in stated:
                other = stated[file.path]
                raise GuideGenError(f"{manifest}: {_relative(root, file.path)} is named by {other.case} and by {case}")
            stated[file.path] = file


def _read_stated(root: Path, entry: BulkFolder, row: dict[str, str]) -> Iterator[StatedFile]:
    manifest = _relative(root, entry.manifest)
    for column in row:
        if column != "path" and not column.endswith("_path"):
            continue
        path_column, bytes_column, hash_column = file_columns(column[: -len("path")].rstrip("_"))
        if hash_column not in row or not row[path_column]:
            continue
        path = Path(os.path.normpath(root / row[path_column]))
        if not path.is_relative_to(entry.folder):
            raise GuideGenError(f"{manifest}: case {row['case']}: {row[path_column]} lies outside the bulk folder")
        size = parse_size(row, bytes_column, entry.manifest)
        yield StatedFile(path, size, row[hash_column], row["case"], manifest)


def _find_unexplained(root: Path, entry: BulkFolder, stated: dict[Path, StatedFile]) -> Iterator[Finding]:
    for path in entry.list_present():
        if path not in stated:
            manifest = _relative(root, entry.manifest)
            yield Finding("unexplained", _relative(root, path), f"no row of {manifest} names this file")


def _find_strays(root: Path, inventory: Inventory) -> Iterator[Finding]:
    """Folders that DVC tracks though their manifest is gone."""
    for pointer in inventory.stray_pointers:
        folder = pointer.with_suffix("")
        if folder.exists():
            missing = _relative(root, folder.with_name(folder.name + ".tsv"))
            yield Finding("missing", missing, f"the manifest is gone, its bulk folder {_relative(root, folder)} is not")


def _check_contents(root: Path, stated: dict[Path, StatedFile], workers: int) -> Iterator[Finding]:
    same_size = []
    for path, file in stated.items():
        name, of = _relative(root, path), f"(case {file.case} in {file.manifest})"
        if path.is_symlink() or not path.is_file():
            yield Finding(
                "missing",
                name,
                f"expected {file.bytes} bytes, found {'a link' if path.is_symlink() else 'nothing'} {of}",
                case=file.case,
            )
        elif (size := path.stat().st_size) != file.bytes:
            yield Finding("altered", name, f"{size} bytes, the manifest says {file.bytes} {of}", case=file.case)
        else:
            same_size.append(path)
    owners = {file.sha256: file for file in stated.values()}
    with track_progress("verify", len(same_size), "files") as advance:
        for path, found in hash_files(same_size, workers):
            file = stated[path]
            advance(1, path.name)
            name, of = _relative(root, path), f"(case {file.case} in {file.manifest})"
            if isinstance(found, OSError):
                yield Finding("altered", name, f"cannot be read: {found.strerror} {of}", case=file.case)
            elif found != file.sha256:
                owner = owners.get(found)
                hint = f", which is that of {_relative(root, owner.path)}" if owner else ""
                told = f"sha256 is {found}{hint}, the manifest says {file.sha256} {of}"
                yield Finding("altered", name, told, case=file.case)
