"""`guidegen synthesize`."""

from collections import Counter
from pathlib import Path

import typer

from guidegen.errors import GuideGenError
from guidegen.provenance import record_job
from guidegen.study import Study


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def synthesize(
        study: Path = typer.Option(Path("."), "--study", help="Study folder."),
        set_name: str = typer.Option("", "--set", help="Set of the config (`synthesize.sets`)."),
        plan: bool = typer.Option(False, "--plan", help="Write the set's prompt table and stop."),
        shard: str = typer.Option("", "--shard", help="Shard of the set's prompt table, e.g. s000."),
        prompt: str = typer.Option("", "--prompt", help="Make cases of this prompt instead, on trained models."),
        count: int = typer.Option(1, "--count", min=1, help="With --prompt: number of cases."),
        out: Path = typer.Option(Path("synthetic"), "--out", help="With --prompt: folder for the cases."),
        seed: int = typer.Option(-1, "--seed", help="With --prompt: instead of `study.seed`."),
    ) -> None:
        """Draw label maps and CTs from prompts, check them at the gates, and write them with all that explains them.

        Examples: `guidegen synthesize --set train --plan`, then `guidegen synthesize --set train --shard s000`

        `guidegen synthesize --prompt "68-year-old woman, 3 cm mass in the left kidney, chest to pelvis" --count 4`
        """
        opened = Study.load(study)
        if set_name:
            _run_set(opened, set_name, plan, shard)
            return
        if plan or shard:
            raise GuideGenError("--plan and --shard need --set: one of " + ", ".join(opened.config.synthesize.sets))
        from guidegen.synthesize.run import synthesize_prompt

        for path in synthesize_prompt(opened, prompt, count, out, seed if seed >= 0 else None):
            typer.echo(str(path))


def _run_set(study: Study, name: str, plan: bool, shard: str) -> None:
    table = study.root / "results" / "synthetic" / name / "prompts.tsv"
    cohort = study.root / "data" / "cohort"
    if plan:
        from guidegen.synthesize.plan import plan_set

        inputs = [cohort / "cohort.tsv", cohort / "text.tsv"]
        with record_job(study, "synthesize", {"set": name, "step": "plan"}, inputs, [table]):
            rows = plan_set(study, name)
        typer.echo(f"synthesize: set {name}: {len(rows)} prompts in {len({row['shard'] for row in rows})} shards")
        return
    if not shard:
        raise GuideGenError(f"--set {name} needs --plan or --shard")
    from guidegen.synthesize.run import synthesize_shard
    from guidegen.synthesize.sampler import list_model_files

    inputs = [table, cohort / "cohort.tsv", *list_model_files(study)]
    outputs = [study.manifest("results", "synthetic", name, shard)]
    with record_job(study, "synthesize", {"set": name, "shard": shard}, inputs, outputs):
        rows = synthesize_shard(study, name, shard)
    counts = Counter(row["status"] for row in rows)
    text = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    typer.echo(f"synthesize: set {name}, {shard}: {text}")
