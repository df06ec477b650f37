"""`guidegen synthesize`."""

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from guidegen.errors import GuideGenError
from guidegen.provenance import record_job
from guidegen.study import Study

if TYPE_CHECKING:
    from guidegen.synthesize.prompts import Prompt


class Layout(StrEnum):
    """How the files of a set are laid out."""

    PLAIN = "plain"
    NNUNET = "nnunet"
    DICOM = "dicom"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def synthesize(
        study: Path = typer.Option(Path("."), "--study", help="Study folder."),
        set_name: str = typer.Option("", "--set", help="Set of the config (`synthesize.sets`)."),
        plan: bool = typer.Option(False, "--plan", help="Write the set's prompt table and stop."),
        shard: str = typer.Option("", "--shard", help="Shard of the set's prompt table, e.g. s000."),
        summary: bool = typer.Option(False, "--summary", help="Count what the set's gates rejected, and why."),
        prompt: str = typer.Option("", "--prompt", help="Make cases of this prompt instead, on trained models."),
        prompts: Path | None = typer.Option(
            None, "--prompts", help="Make cases of all prompts of a .txt, .tsv or .csv file."
        ),
        count: int = typer.Option(1, "--count", min=1, help="With --prompt, --prompts: cases of each prompt."),
        seed: int = typer.Option(-1, "--seed", help="With --prompt, --prompts: instead of `study.seed`."),
        out: Path = typer.Option(Path("synthetic"), "--out", help="With prompts or --layout: folder for the cases."),
        layout: Layout = typer.Option(
            Layout.PLAIN, "--layout", help="nnunet: an nnU-Net v2 dataset; dicom: CT series and SEG of each case."
        ),
    ) -> None:
        """Draw label maps and CTs from prompts, check them at the gates, and write them with all that explains them.

        Examples: `guidegen synthesize --set train --plan`, then `guidegen synthesize --set train --shard s000`

        `guidegen synthesize --prompt "68-year-old woman, 3 cm mass in the left kidney, chest to pelvis" --count 4`

        `guidegen synthesize --set train --layout nnunet --out nnUNet_raw/Dataset501_Synthetic`
        """
        opened = Study.load(study)
        chosen = seed if seed >= 0 else None
        if set_name and (prompt or prompts):
            raise GuideGenError("--set takes its prompts from the config; leave out --prompt and --prompts")
        if set_name and layout is not Layout.PLAIN:
            _write_layout(opened, layout, opened.root, _list_manifests(opened, set_name), out)
        elif set_name:
            _run_set(opened, set_name, plan, shard, summary)
        elif plan or shard or summary:
            sets = ", ".join(opened.config.synthesize.sets)
            raise GuideGenError(f"--plan, --shard and --summary need --set: one of {sets}")
        else:
            _run_prompts(opened, _read_prompts(prompt, prompts), count, chosen, out, layout)

    @app.command("segment-synthetic", hidden=True)
    def segment_synthetic(
        ct: Path = typer.Option(..., "--ct", help="NIfTI in HU."),
        out: Path = typer.Option(..., "--out", help="Label map to write."),
        study: Path = typer.Option(Path("."), "--study", help="Study folder."),
    ) -> None:
        """Segment a synthetic CT by TotalSegmentator; `synthesize` calls this in the segmentation environment."""
        from guidegen.synthesize.totalsegmentator import segment_synthetic

        segment_synthetic(Study.load(study), ct, out)


def _read_prompts(prompt: str, path: Path | None) -> "Sequence[Prompt]":
    from guidegen.synthesize.prompts import check_prompt, read_prompt_table

    if path and prompt:
        raise GuideGenError("give --prompt or --prompts, not both")
    return read_prompt_table(path) if path else [check_prompt(prompt, "--prompt")]


def _run_prompts(
    study: Study, prompts: "Sequence[Prompt]", count: int, seed: int | None, out: Path, layout: Layout
) -> None:
    from guidegen.synthesize.run import synthesize_prompts

    if layout is Layout.PLAIN:
        rows = synthesize_prompts(study, prompts, count, out, seed)
        for row in rows:
            typer.echo(_describe_case(out, row))
        return
    parent = out.resolve().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=parent) as folder:
        synthesize_prompts(study, prompts, count, Path(folder), seed)
        _write_layout(study, layout, Path(folder), [Path(folder) / "cases.tsv"], out)


def _describe_case(out: Path, row: dict[str, str]) -> str:
    if row["status"] != "ok":
        return f"{row['case']}: failed: {row['reason']}"
    sidecar = json.loads((out / row["sidecar_path"]).read_text(encoding="utf-8"))
    failed = [
        f"{name} ({', '.join(gate.get('details', ()))})"
        for name, gate in sidecar["gates"].items()
        if gate["passed"] is False
    ]
    told = [*sidecar["notes"], *([f"failed gates: {'; '.join(failed)}"] if failed else [])]
    return "\n    ".join([str(out / row["path"]), *told])


def _list_manifests(study: Study, name: str) -> list[Path]:
    from guidegen.synthesize.plan import read_set

    read_set(study, name)
    return [study.manifest("results", "synthetic", name, s) for s in study.config.synthesize.list_shards(name)]


def _write_layout(study: Study, layout: Layout, root: Path, manifests: Sequence[Path], out: Path) -> None:
    from guidegen.synthesize.layouts import read_cases

    cases = read_cases(root, manifests)
    if layout is Layout.NNUNET:
        from guidegen.synthesize.nnunet import write_nnunet as write
    else:
        from guidegen.synthesize.dicom import write_dicom as write
    write(cases, out, study.labels)
    typer.echo(f"synthesize: {len(cases)} cases in {out}")


def _run_set(study: Study, name: str, plan: bool, shard: str, summary: bool) -> None:
    folder = study.root / "results" / "synthetic" / name
    table, cohort = folder / "prompts.tsv", study.root / "data" / "cohort"
    if plan:
        from guidegen.synthesize.plan import locate_table, plan_set

        own = locate_table(study, name)
        inputs = [cohort / "cohort.tsv", cohort / "text.tsv", *([own] if own else [])]
        with record_job(study, "synthesize", {"set": name, "step": "plan"}, inputs, [table]):
            rows = plan_set(study, name)
        typer.echo(f"synthesize: set {name}: {len(rows)} prompts in {len({row['shard'] for row in rows})} shards")
    elif summary:
        from guidegen.synthesize.summary import summarize_set

        inputs = [table, *_list_manifests(study, name)]
        with record_job(study, "synthesize", {"set": name, "step": "summary"}, inputs, [folder / "summary.json"]):
            found = summarize_set(study, name)
        typer.echo(f"synthesize: set {name}: {found['cases']['ok']} cases in {found['draws']} draws")
    elif shard:
        _run_shard(study, name, shard, [table, cohort / "cohort.tsv"])
    else:
        raise GuideGenError(f"--set {name} needs --plan, --shard, --summary or --layout")


def _run_shard(study: Study, name: str, shard: str, tables: list[Path]) -> None:
    from guidegen.synthesize.plan import read_set
    from guidegen.synthesize.run import synthesize_shard
    from guidegen.synthesize.sampler import list_model_files

    chosen = study.manifest("results", "segmentation", read_set(study, name).segmenter)
    segmenter = [chosen] if chosen.is_file() else []
    inputs = [*tables, *list_model_files(study), *segmenter]
    outputs = [study.manifest("results", "synthetic", name, shard)]
    with record_job(study, "synthesize", {"set": name, "shard": shard}, inputs, outputs):
        rows = synthesize_shard(study, name, shard)
    counts = Counter(row["status"] for row in rows)
    text = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    typer.echo(f"synthesize: set {name}, {shard}: {text}")
