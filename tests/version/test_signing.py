"""A run can be signed with the key that git knows, at once or later, and verify tells a good signature from others."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import git
from guidegen.errors import GuideGenError
from guidegen.study import Study
from guidegen.version.commit import commit_run
from guidegen.version.history import list_runs
from guidegen.version.verify import verify_study


def make_key(folder: Path, name: str) -> Path:
    path = folder / name
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def trust(study: Study, *keys: Path) -> None:
    signers = study.root.parent / "signers"
    signers.write_text("".join(f"{key.name}@lab {key.with_suffix('.pub').read_text()}" for key in keys))
    git(study.root, "config", "gpg.ssh.allowedSignersFile", str(signers))


@pytest.fixture
def study(template: Path, tmp_path: Path) -> Study:
    """A study without data, which is committed in no time."""
    root = tmp_path / "study"
    shutil.copytree(template, root, symlinks=True, ignore=shutil.ignore_patterns("data", "results"))
    config = root / "config" / "config.yaml"
    config.write_text(config.read_text().replace("../remote", "''"))
    return Study.load(root)


@pytest.fixture
def key(study: Study, tmp_path: Path) -> Path:
    """The key that git signs with in the study; nobody is trusted yet."""
    made = make_key(tmp_path, "alice")
    git(study.root, "config", "gpg.format", "ssh")
    git(study.root, "config", "user.signingkey", str(made))
    return made


def signature_findings(study: Study) -> list[tuple[str, bool, str]]:
    found = [finding for finding in verify_study(study).findings if finding.kind == "signature"]
    return [(finding.path, finding.warning, finding.message) for finding in found]


def test_a_signed_run_is_good_for_those_who_trust_the_signer(study: Study, key: Path) -> None:
    trust(study, key)
    run = commit_run(study, sign=True)
    assert "BEGIN SSH SIGNATURE" in git(study.root, "cat-file", "tag", run.tag)
    assert signature_findings(study) == []
    assert list_runs(study.root)[0].as_json()["signed"] is True
    assert commit_run(study, sign=True).new is False


def test_a_run_that_was_committed_without_a_signature_gets_one_later(study: Study, key: Path) -> None:
    trust(study, key)
    before = commit_run(study, message="first")
    (stated,) = list_runs(study.root)
    assert not stated.signed
    after = commit_run(study, sign=True)
    (signed,) = list_runs(study.root)
    assert (after.tag, after.commit, signed.signed) == (before.tag, before.commit, True)
    assert signed.fields == stated.fields
    assert signature_findings(study) == []


def test_an_altered_tag_is_named(study: Study, key: Path) -> None:
    trust(study, key)
    tag = commit_run(study, sign=True, allow_dirty=True).tag
    text = git(study.root, "cat-file", "tag", tag).replace("Seed: ", "Seed: 1")
    made = subprocess.run(
        ["git", "hash-object", "-t", "tag", "-w", "--stdin"], cwd=study.root, input=text, capture_output=True, text=True
    )
    git(study.root, "update-ref", f"refs/tags/{tag}", made.stdout.strip())
    ((path, warning, message),) = signature_findings(study)
    assert (path, warning) == (tag, False)
    assert "not a good signature" in message
    with pytest.raises(GuideGenError, match="not a good signature"):
        commit_run(study)


def test_a_signer_who_is_not_on_the_list_is_named(study: Study, key: Path, tmp_path: Path) -> None:
    trust(study, make_key(tmp_path, "bob"))
    commit_run(study, sign=True)
    ((_, warning, message),) = signature_findings(study)
    assert not warning
    assert "No principal matched" in message


def test_without_a_list_of_signers_it_is_said_that_nothing_was_checked(study: Study, key: Path) -> None:
    tag = commit_run(study, sign=True).tag
    ((path, warning, message),) = signature_findings(study)
    assert (path, warning) == (tag, True)
    assert "cannot be checked" in message


def test_what_was_changed_after_the_signature_is_told(study: Study, key: Path) -> None:
    trust(study, key)
    tag = commit_run(study, sign=True).tag
    table = study.root / "config" / "labels.tsv"
    table.write_text(table.read_text().replace("#9d6ca2", "#9d6ca3"))
    assert signature_findings(study) == [("config/labels.tsv", True, f"not as it was signed in {tag}")]


def test_without_a_key_nothing_is_begun(study: Study) -> None:
    head = git(study.root, "rev-parse", "HEAD")
    git(study.root, "config", "gpg.format", "ssh")
    with pytest.raises(GuideGenError, match=r"git has no SSH key to sign with; .*user.signingkey"):
        commit_run(study, sign=True)
    assert git(study.root, "rev-parse", "HEAD") == head


def test_the_command_signs_and_verify_fails_on_a_bad_signature(study: Study, key: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "guidegen", "version"]
    where = ["--study", str(study.root)]
    trust(study, make_key(tmp_path, "bob"))
    subprocess.run([*words, "commit", "--sign", "--allow-dirty", *where], check=True, capture_output=True)
    done = subprocess.run([*words, "verify", "--json", *where], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [finding["kind"] for finding in json.loads(done.stdout)["findings"] if not finding["warning"]] == [
        "signature"
    ]
