"""What verification finds."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    `kind` is one of: `missing`, `altered`, `unexplained` (a file that no manifest names), `manifest` (damaged),
    `untraced` (a row without its origin, or an origin without its row), `split`, `licence`, `lineage`, `clock` (times
    that cannot be), `config`, `environment`, `pointer` (of DVC), `remote`, `recomputed` (made again, it differs),
    `signature`.
    """

    kind: str
    path: str
    message: str
    warning: bool = False
    """True for what a reader should know but what proves nothing wrong."""
    case: str = ""
    """The manifest's case, where one row is meant; of `remote`, the object."""


@dataclass
class Verification:
    """What was verified, and what was found."""

    manifests: int = 0
    files: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    recomputed: list[str] = field(default_factory=list)
    """Items that were made again and compared."""
    remote: bool = False
    """Whether the objects at the remote were read and hashed."""

    @property
    def errors(self) -> list[Finding]:
        """The findings that make a study unfit to commit."""
        return [finding for finding in self.findings if not finding.warning]

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return {
            "ok": not self.errors,
            "manifests": self.manifests,
            "files": self.files,
            "bytes": self.bytes,
            "recomputed": self.recomputed,
            "remote": self.remote,
            "findings": [asdict(finding) for finding in self.findings],
        }


def describe_errors(verification: Verification, shown: int = 20) -> str:
    """Return the errors of a verification as text, one line each, at most `shown` of them."""
    lines = [f"  {finding.kind}: {finding.path}: {finding.message}" for finding in verification.errors]
    more = [f"  … and {len(lines) - shown} more"] if len(lines) > shown else []
    return "\n".join([f"{len(lines)} thing(s) are not as the study says:", *lines[:shown], *more])
