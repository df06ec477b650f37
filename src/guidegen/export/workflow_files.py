"""The Snakefile and the rules as they were when a run was made."""

import subprocess

from guidegen.assets import ASSETS
from guidegen.errors import GuideGenError
from guidegen.provenance import describe_code

DIRTY = "-dirty"


def read_workflow(code: str) -> dict[str, bytes]:
    """Return `Snakefile` and `rules/*.smk` of a commit of the code: name → content.

    Args:
        code: what the run's tag states: a commit, with `-dirty` where there were changes that no commit holds, or
            `v<version>` of an installed wheel.

    Raises:
        GuideGenError: the code at hand is another one, and git does not know the commit.
    """
    commit = code.removesuffix(DIRTY)
    if describe_code().removesuffix(DIRTY) == commit:
        files = [ASSETS / "Snakefile", *sorted((ASSETS / "rules").glob("*.smk"))]
        return {path.relative_to(ASSETS).as_posix(): path.read_bytes() for path in files}
    listed = _git("ls-tree", "-r", "--name-only", commit, "--", "Snakefile", "rules")
    if not listed:
        raise GuideGenError(
            f"the run was made by the code {code}, at hand is {describe_code()}; check that code out to export the run"
        )
    return {name: _git("show", f"{commit}:{name}") for name in listed.decode().split()}


def _git(*words: str) -> bytes:
    """Return what git says of the code's own repository, nothing where it fails."""
    done = subprocess.run(["git", "-C", str(ASSETS), *words], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""
