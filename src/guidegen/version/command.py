"""`guidegen version`: commit, verify and restore runs."""

import json
from pathlib import Path

import typer

STUDY = typer.Option(Path("."), "--study", help="Study folder.")
versions = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Keep runs: give them names, prove that nothing changed, bring them back.\n\n"
    "Git holds what is small (config, manifests, tables, report, lineage), DVC holds the bulk; a run is a git tag "
    "`run/<day>-<content>`. Two runs that made the same have the same content.\n\n"
    "Typical: `guidegen run`, `guidegen version commit`, later `guidegen version verify`.",
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    from guidegen.version import audit_command

    audit_command.register(versions)
    app.add_typer(versions, name="version")


@versions.command("init")
def init(study: Path = STUDY) -> None:
    """Make the study folder a git and DVC repository of its own.

    `guidegen init` and `guidegen version commit` do this by themselves; what is there already is kept.
    """
    from guidegen.version.repository import init_repository

    init_repository(study)
    typer.echo(f"{study.resolve()} is a git and DVC repository")


@versions.command("commit")
def commit(
    study: Path = STUDY,
    message: str = typer.Option("", "--message", "-m", help="What you want to say about this run."),
    allow_dirty: bool = typer.Option(
        False, "--allow-dirty", help="Commit although the code had uncommitted changes; the tag says so for ever."
    ),
    sign: bool = typer.Option(False, "--sign", help="Sign the tag with the key that git is set up with (SSH or GPG)."),
) -> None:
    """Give the study as it is a name.

    In this order: all bulk is compared with the manifests; bulk goes to DVC's cache, then to the remote
    (`version.remote` in the config), which is asked whether all arrived; lineage is gathered; config, manifests, tables
    and pointers go to git; the tag `run/<day>-<content>` is set. It may be interrupted at any point: call it again.

    With `--sign` the tag is signed (git's `gpg.format` and `user.signingkey`), at once or when called again later;
    `guidegen version verify` checks it against `gpg.ssh.allowedSignersFile` or your GPG keys.

    Example: `guidegen version commit --study studies/demo -m "first complete run"`
    """
    from guidegen.study import Study
    from guidegen.version.commit import commit_run

    run = commit_run(Study.load(study), allow_dirty=allow_dirty, message=message, sign=sign)
    checked = run.verification
    typer.echo(
        f"{run.tag} {'committed' if run.new else 'was committed already'}: {checked.manifests} manifests, "
        f"{checked.files} files, {checked.bytes / 1e6:.1f} MB, "
        + (f"copied to {run.pushed_to}" if run.pushed_to else "kept in this folder only (no version.remote)")
    )


@versions.command("verify")
def verify(
    study: Path = STUDY,
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON on standard output."),
    remote: bool = typer.Option(False, "--remote", help="Read and hash every object at the remote, too."),
    sample: int = typer.Option(0, "--sample", min=0, metavar="N", help="Make N random items again and compare them."),
    page: Path | None = typer.Option(None, "--page", metavar="FILE", help="Write the result as an HTML page."),
    workers: int = typer.Option(0, "--workers", help="Threads that read and hash; 0 takes one per CPU."),
) -> None:
    """Compare every file with its manifest, and every row with where it comes from. Exit code 1 if anything is wrong.

    Named are files that are missing, altered, or that no manifest explains; rows that cannot be traced to the frozen
    index; patients in two splits, or in another than before; sources without a licence; tables that are not what the
    last job made, or that were made from others than lie there; times that cannot be; DVC's pointers that do not fit;
    signatures of tags. `--sample` runs convert, mask, pair, prepare and synthesize again on cases drawn at random:
    these run on the CPU, where every byte must be equal.

    Examples: `guidegen version verify --study studies/demo --json | jq .findings`

    `guidegen version verify --sample 20 --remote --page verification.html`
    """
    from guidegen.study import Study
    from guidegen.version.verify import verify_study

    opened = Study.load(study)
    result = verify_study(opened, workers or None, remote=remote, sample=sample)
    if page:
        from guidegen.version.page import write_verification

        write_verification(page, opened, result)
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=1))
    else:
        for finding in result.findings:
            colour = typer.colors.YELLOW if finding.warning else typer.colors.RED
            label = f"{finding.kind} (warning)" if finding.warning else finding.kind
            typer.secho(f"{label}: {finding.path}: {finding.message}", fg=colour)
        state = f"{len(result.errors)} thing(s) wrong" if result.errors else "everything is as the manifests say"
        typer.echo(f"{result.manifests} manifests, {result.files} files, {result.bytes / 1e6:.1f} MB: {state}")
    raise typer.Exit(1 if result.errors else 0)


@versions.command("restore")
def restore(
    tag: str = typer.Argument(..., help="The run: `run/<id>`, `<id>`, or any git revision."),
    study: Path = STUDY,
    force: bool = typer.Option(False, "--force", help="Give up changes that are in no commit."),
) -> None:
    """Bring a committed run back, so that `snakemake -n` has nothing to do.

    Config, manifests and tables come from git, bulk from DVC's cache or the remote; all of it is verified. Works in the
    study itself and in a fresh `git clone` of it. Changes that are in no commit are not overwritten without `--force`.

    Example: `git clone lab:studies/paper again && guidegen version restore run/20260301-1f0c2a9b --study again`
    """
    from guidegen.version.restore import restore_run

    run = restore_run(study.resolve(), tag, force=force)
    typer.echo(f"{run.tag} is back: {run.verification.files} files, {run.verification.bytes / 1e6:.1f} MB, verified")


@versions.command("log")
def log(study: Path = STUDY, as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List the committed runs, newest first.

    Example: `guidegen version log --study studies/demo`
    """
    from guidegen.version.history import list_runs

    runs = list_runs(study.resolve())
    if as_json:
        typer.echo(json.dumps([run.as_json() for run in runs], indent=1))
        return
    for run in runs:
        typer.echo(run.describe())
    if not runs:
        typer.echo("no committed run yet; `guidegen version commit` makes the first")


@versions.command("diff")
def diff(
    first: str = typer.Argument(..., help="The older run."),
    second: str = typer.Argument(..., help="The newer run."),
    study: Path = STUDY,
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Say what changed between two runs: code, config, patients, items of each phase, figures, environment.

    Example: `guidegen version diff run/20260301-1f0c2a9b run/20260405-77aa0c1d --study studies/demo`
    """
    from guidegen.version.history import compare_runs

    changes = compare_runs(study.resolve(), first, second)
    typer.echo(json.dumps(changes.as_json(), indent=1) if as_json else changes.describe())


@versions.command("push")
def push(study: Path = STUDY) -> None:
    """Copy the bulk of all committed runs to the remote, and check that it arrived.

    `commit` does this for its own run; `push` is for a remote that was configured later or could not be reached.
    Git's part goes where you send it: `git push <where> --tags`.
    """
    from guidegen.study import Study
    from guidegen.version.remote import push_runs

    typer.echo(push_runs(Study.load(study)))


@versions.command("export")
def export(
    out: Path = typer.Option(..., "--out", help="Folder to write; it must not exist yet, or be empty."),
    ro_crate: bool = typer.Option(False, "--ro-crate", help="The run, for audits: workflow, config, tables, jobs."),
    croissant: bool = typer.Option(False, "--croissant", help="The synthetic sets, with Croissant metadata."),
    benchmark: bool = typer.Option(False, "--benchmark", help="CT, text and mask, paired; CTs are fetched by UID."),
    cards: bool = typer.Option(False, "--cards", help="A data card, and a model card per trained stage."),
    study: Path = STUDY,
) -> None:
    """Write a committed run in a form that others can read; choose one of the four.

    `--ro-crate`: a Provenance Run Crate (Workflow Run RO-Crate), for reviewers and archives; bulk stays in DVC.

    `--croissant`: the synthetic sets; `mlcroissant` and what builds on it load them.

    `--benchmark`: prompts with sources, label maps, splits, series UIDs, protocol, and a loader in one file. CT pixels
    are not in it: the loader fetches them again.

    `--cards`: Markdown; sources, licences, citations, cohort, gates, intended use, limits.

    A set with a source that forbids a release is refused by name (`--croissant`, `--benchmark`).

    Example: `guidegen version export --benchmark --out releases/benchmark --study studies/paper`
    """
    from guidegen.export.run import export_run

    chosen = {"ro-crate": ro_crate, "croissant": croissant, "benchmark": benchmark, "cards": cards}
    typer.echo(export_run(study, [form for form, wanted in chosen.items() if wanted], out))
