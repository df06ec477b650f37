"""The synthetic sets with Croissant metadata: one table of cases, the volumes, and `croissant.json` that says it all.

Format: http://mlcommons.org/croissant/1.0 (Akhtar et al. 2024, doi:10.1145/3650203.3663326).
"""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.export.licences import RELEASE_LICENCE, refuse_forbidden
from guidegen.export.release import Copy, Release, copy_files, list_citations, write_folder, write_labels
from guidegen.manifest import list_files, read_manifest
from guidegen.tables import read_tsv, write_tsv

FIELDS = {
    "set": "Synthetic set",
    "case": "Case id",
    "prompt": "Free text that the case was asked to be",
    "statements": "Typed content of the prompt, JSON",
    "split": "Split of the patients whose prompts were used: train, val or test",
    "source_case": "Real case whose prompt was used",
    "spacing_mm": "Millimetres per voxel of the label map: x,y,z",
    "seed": "Seed of the case",
    "gates": "Plausibility gates, JSON: gate to true, false, or null where it does not apply",
    "ct": "CT volume: gzipped NIfTI, int16 HU, RAS+; path relative to the dataset",
    "ct_sha256": "sha256 of the CT volume",
    "labels": "Label map of the same box: gzipped NIfTI, uint8 class ids of labels.tsv, RAS+",
    "labels_sha256": "sha256 of the label map",
    "provenance": "JSON file: seed, models, attempts, gates and licence chain of the case",
    "provenance_sha256": "sha256 of that file",
}
NUMBERS = ("seed",)
ROLES = {"": "ct", "labels": "labels", "sidecar": "provenance"}


def export_croissant(release: Release, out: Path) -> int:
    """Write all synthetic sets and their Croissant metadata into `out`; return the number of cases.

    Raises:
        GuideGenError: a source forbids the release, there is no synthetic case, `out` is not empty, or a volume is not
            what its manifest says.
    """
    refuse_forbidden(release.study)
    rows, copies = [], []
    for name in sorted(release.study.config.synthesize.sets):
        for row, files in _list_cases(release, name):
            rows.append(row)
            copies += files
    if not rows:
        raise GuideGenError(f"{release.study.root}: no synthetic case passed its gates, there is nothing to release")
    with write_folder(out) as folder:
        copy_files(copies, folder, "croissant")
        write_tsv(folder / "cases.tsv", tuple(FIELDS), rows)
        write_labels(release, folder)
        metadata = describe_dataset(release, folder)
        text = json.dumps(metadata, indent=1, ensure_ascii=False, default=str)
        (folder / "croissant.json").write_text(text + "\n", encoding="utf-8")
    return len(rows)


def _list_cases(release: Release, name: str) -> Iterator[tuple[dict[str, Any], list[Copy]]]:
    folder = release.study.root / "results" / "synthetic" / name
    if not (folder / "prompts.tsv").is_file():
        return
    asked = {row["case"]: row for row in read_tsv(folder / "prompts.tsv", ("case", "prompt", "shard"))}
    for shard in sorted({row["shard"] for row in asked.values()}):
        for made in read_manifest(folder / f"{shard}.tsv"):
            if made["status"] != "ok":
                continue
            prompt = asked[made["case"]]
            row = {"set": name} | {key: prompt[key] for key in FIELDS if key in prompt}
            row |= {"gates": made["gates"], "spacing_mm": made["spacing_mm"]}
            copies = []
            for role, path, _, digest in list_files(made):
                target = f"{name}/{Path(path).name}"
                row |= {ROLES[role]: target, f"{ROLES[role]}_sha256": digest}
                copies.append(Copy(release.study.root / path, target, digest))
            yield row, copies


def describe_dataset(release: Release, folder: Path) -> dict[str, Any]:
    """Return the Croissant metadata of a filled release folder; mlcroissant has checked it."""
    import mlcroissant as mlc

    table = folder / "cases.tsv"
    tables = [
        mlc.FileObject(
            id=path.name,
            name=path.name,
            content_url=path.name,
            content_size=f"{path.stat().st_size} B",
            encoding_formats=["text/tab-separated-values"],
            sha256=hash_file(path),
        )
        for path in (table, folder / "labels.tsv")
    ]
    volumes = [
        mlc.FileSet(id=name, name=name, description=text, encoding_formats=[kind], includes=[pattern])
        for name, text, kind, pattern in (
            ("ct-volumes", FIELDS["ct"], "application/gzip", "*/*.ct.nii.gz"),
            ("label-maps", FIELDS["labels"], "application/gzip", "*/*.labels.nii.gz"),
            ("provenance", FIELDS["provenance"], "application/json", "*/*.json"),
        )
    ]
    classes = {"id": "Class id", "name": "Class", "colour": "Colour"}
    records = [
        _describe_records(mlc, "cases", table, FIELDS),
        _describe_records(mlc, "classes", folder / "labels.tsv", classes),
    ]
    study, date = release.study.config.study, datetime.fromisoformat(release.run.date)
    metadata = mlc.Metadata(
        name=f"{study.name}-synthetic",
        description=f"Synthetic CT volumes with label maps and prompts, made by GuideGen ({release.title}). "
        "Every volume is synthetic; none shows a patient.",
        license=[RELEASE_LICENCE],
        version=f"{date.year}.{date.month}.{date.day}",
        date_published=date,
        creators=[mlc.Organization(name=f"The maintainers of the study {study.name}")],
        cite_as="; ".join(list_citations(release.sources)) or None,
        distribution=[*tables, *volumes],
        record_sets=records,
    )
    return metadata.to_json()


def _describe_records(mlc: Any, name: str, table: Path, fields: dict[str, str]) -> Any:
    return mlc.RecordSet(
        id=name,
        name=name,
        fields=[
            mlc.Field(
                id=f"{name}/{field}",
                name=field,
                description=text,
                data_types=[mlc.DataType.INTEGER if field in (*NUMBERS, "id") else mlc.DataType.TEXT],
                source=mlc.Source(file_object=table.name, extract=mlc.Extract(column=field)),
            )
            for field, text in fields.items()
        ],
    )
