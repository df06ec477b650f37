"""Signed run tags: git's own signing, with OpenPGP or SSH keys, as the user has set it up in git."""

from collections.abc import Iterator

from guidegen.errors import GuideGenError
from guidegen.version.findings import Finding
from guidegen.version.repository import Repository

SIGNATURE = "%(contents:signature)"
HELP = (
    "tell git which key to sign with, e.g. `git config --global gpg.format ssh` and "
    "`git config --global user.signingkey ~/.ssh/id_ed25519.pub`"
)
UNCHECKED = ("allowedSignersFile needs to be configured", "NO_PUBKEY", "No public key", "cannot run gpg")
"""What git says where it has nothing to check a signature against."""


def require_signing_key(repository: Repository) -> None:
    """Raise GuideGenError where git is to sign with SSH but knows no key (OpenPGP may choose one by itself)."""
    keys = ("user.signingkey", "gpg.ssh.defaultKeyCommand")
    is_ssh = repository.git("config", "gpg.format", check=False).strip() == "ssh"
    if is_ssh and not any(repository.git("config", key, check=False).strip() for key in keys):
        raise GuideGenError(f"{repository.root}: --sign: git has no SSH key to sign with; {HELP}")


def is_signed(repository: Repository, tag: str) -> bool:
    """Tell whether a tag carries a signature, good or not."""
    return bool(repository.git("for-each-ref", f"refs/tags/{tag}", f"--format={SIGNATURE}").strip())


def check_signatures(repository: Repository) -> Iterator[Finding]:
    """Yield what is wrong with the signatures of the run tags; a tag without one is not wrong.

    A signature that cannot be checked, and files that are not as they were signed, are warnings: the key may be
    elsewhere, the work may go on.
    """
    here = repository.git("tag", "--points-at", "HEAD", "--list", "run/*", check=False).split()
    for tag in (name for name in repository.list_tags() if is_signed(repository, name)):
        done = repository.attempt("verify-tag", "--raw", tag)
        told = " ".join(done.stderr.split())
        if done.returncode and any(words in told for words in UNCHECKED):
            yield Finding("signature", tag, f"cannot be checked: {told}", warning=True)
        elif done.returncode:
            yield Finding("signature", tag, f"not a good signature of somebody who may sign: {told}")
        elif tag in here:
            changed = repository.git("diff", "--name-only", "HEAD", "--", "config", "data", "results").splitlines()
            for name in changed:
                yield Finding("signature", name, f"not as it was signed in {tag}", warning=True)
