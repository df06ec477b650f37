"""`guidegen doctor` finds what is wrong, says what to do, and exits with 1 only where a run would stop."""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from guidegen.cli import app
from guidegen.doctor.check import Check
from guidegen.doctor.environment import check_environment, compare_packages, read_lock
from guidegen.doctor.machine import check_disk
from guidegen.doctor.profile import check_configuration_path, check_profile, read_profile
from guidegen.doctor.run import check_all, check_slurm
from guidegen.doctor.scheduler import PartitionFacts, check_settings, parse_minutes
from guidegen.doctor.site import Needs, check_account, check_needs, check_partitions, list_local_rules, read_site
from guidegen.doctor.study_parts import check_encoder, check_environments, check_remote, check_source, check_weights
from guidegen.study import Study
from guidegen.tables import write_tsv

REPOSITORY = Path(__file__).parents[2]
SITE = REPOSITORY / "config" / "slurm.yaml"


def edit_config(root: Path, old: str, new: str) -> Study:
    path = root / "config" / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return Study.load(root)


@pytest.fixture
def study(tmp_path: Path, call) -> Path:
    call("init", tmp_path / "study", "--preset", "smoke")
    return tmp_path / "study"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A local S3 server with the bucket `lab`."""
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket="lab")
    yield url
    server.stop()


def assert_problem(check: Check, *words: str) -> None:
    assert check.level == "problem", check
    assert check.advice
    for word in words:
        assert word in f"{check.found} {check.advice}", check


def test_this_environment_has_no_problem() -> None:
    checks = check_environment()
    assert {check.name for check in checks} >= {"python", "packages", "git", "dcm2niix", "s5cmd", "dvc", "browser"}
    assert [check for check in checks if check.level == "problem"] == []


def test_package_that_differs_from_the_lock_is_named() -> None:
    missing, differing = compare_packages(read_lock() | {"numpy": "0.0.1"})
    assert missing == []
    assert any(text.startswith("numpy ") and "lock: 0.0.1" in text for text in differing)


def test_command_line_exits_with_1_on_problems_only(study: Path) -> None:
    command = ["doctor", "--study", str(study)]
    good = CliRunner().invoke(app, [*command, "--json"])
    assert good.exit_code == 0, good.stdout
    assert all(check["level"] != "problem" for check in json.loads(good.stdout))
    edit_config(study, "name: all-MiniLM-L6-v2", "name: no/such-encoder")
    bad = CliRunner().invoke(app, command)
    assert bad.exit_code == 1
    assert "PROBLEM  text encoder" in bad.stdout
    assert "hf download no/such-encoder" in bad.stdout


def test_folder_without_study_and_broken_config(tmp_path: Path) -> None:
    assert check_all(tmp_path)[-1].level == "warning"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("study: {names: x}\n")
    assert_problem(check_all(tmp_path)[-1], "did you mean 'name'")


def test_command_of_an_environment_that_does_not_start(study: Path) -> None:
    assert check_environments(Study.load(study)).level == "ok"
    assert_problem(check_environments(edit_config(study, "core: guidegen", "core: /nowhere/guidegen")), "/nowhere")


def test_missing_weights_say_how_to_get_them(study: Path) -> None:
    assert check_weights(Study.load(study)).level == "ok"
    opened = edit_config(study, "organs: [dicom_seg, nifti]", "organs: [totalsegmentator]")
    assert_problem(check_weights(opened), "guidegen mask --fetch-weights", "tcga_luad")
    model = study / ".guidegen/totalsegmentator/nnunet/results/Dataset291/x/fold_0/checkpoint_final.pth"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"weights")
    assert check_weights(opened).level == "warning"
    name = model.relative_to(study / ".guidegen/totalsegmentator")
    row = {"speed": "normal", "file": name, "bytes": 7, "sha256": hashlib.sha256(b"weights").hexdigest()}
    write_tsv(study / "data/mask/weights.tsv", list(row), [row])
    assert check_weights(opened).level == "ok"
    model.write_bytes(b"weighty")
    assert_problem(check_weights(opened), "sha256 is", "checkpoint_final.pth")
    model.write_bytes(b"half")
    assert_problem(check_weights(opened), "expected 7 bytes", "found 4 bytes")


def test_encoder_and_source(study: Path) -> None:
    assert check_encoder(Study.load(study)).level == "ok"
    assert "made by `guidegen run`" in check_source(Study.load(study)).found
    opened = edit_config(study, "source: archive", "source: idc")
    opened = edit_config(study, "endpoint_url: ''", "endpoint_url: http://127.0.0.1:9")
    assert check_source(opened).level == "warning"


def test_full_disk_is_a_problem(study: Path) -> None:
    assert check_disk(Study.load(study)).level == "ok"
    assert_problem(check_disk(edit_config(study, "min_free_gb: 5.0", "min_free_gb: 1000000000.0")), "min_free_gb")


def test_remotes(study: Path, store: str, tmp_path: Path) -> None:
    assert check_remote(Study.load(study)).level == "warning"
    opened = edit_config(study, "remote: ''", f"remote: {tmp_path}/store")
    assert check_remote(opened).level == "ok"
    edit_config(study, f"remote: {tmp_path}/store", "remote: s3://lab/study")
    text = (study / "config" / "config.yaml").read_text()
    head, tail = text.rsplit("endpoint_url: ''", 1)
    (study / "config" / "config.yaml").write_text(f"{head}endpoint_url: {store}{tail}")
    assert check_remote(Study.load(study)).level == "ok"
    opened = edit_config(study, "s3://lab/study", "s3://other/study")
    assert_problem(check_remote(opened), "s3://other")
    opened = edit_config(study, "s3://other/study", "/proc/version/store")
    assert_problem(check_remote(opened), "version.remote")


def test_our_profile_leads_into_no_trap() -> None:
    options, problem = read_profile(REPOSITORY / "workflow" / "profiles" / "slurm", SITE)
    assert problem is None
    assert [check.level for check in check_profile(options)] == ["ok"]


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("executor", "local", "executor"),
        ("slurm-status-command", "sacct", "squeue"),
        ("slurm-status-attempts", 5, "slurm-status-attempts"),
        ("slurm-array-jobs", "all", "array"),
        ("groups", ["convert=g"], "groups"),
        ("slurm-requeue", False, "slurm-requeue"),
        ("slurm-jobname-prefix", "x", "guidegen"),
        ("rerun-incomplete", False, "rerun-incomplete"),
    ],
)
def test_option_that_leads_into_a_trap_is_a_problem(option: str, value: object, word: str) -> None:
    options, _ = read_profile(REPOSITORY / "workflow" / "profiles" / "slurm", SITE)
    (check,) = check_profile(options | {option: value})
    assert_problem(check, word)


@pytest.mark.parametrize(("option", "value", "word"), [("scheduler", "ilp", "SIGTERM"), ("retries", 0, "not tried")])
def test_option_that_matters_to_some_runs_is_a_warning(option: str, value: object, word: str) -> None:
    options, _ = read_profile(REPOSITORY / "workflow" / "profiles" / "slurm", SITE)
    (check,) = check_profile(options | {option: value})
    assert check.level == "warning"
    assert word in check.found


def test_site_file_is_compared_with_the_cluster(tmp_path: Path) -> None:
    partitions = {
        "cpu": PartitionFacts(True, 2880, 64000, 8, 2),
        "gpu": PartitionFacts(True, 1440, 128000, 16, 1, {"h200": 4}, {"h200": 4}),
    }
    path = tmp_path / "slurm.yaml"

    def check(text: str) -> list[Check]:
        path.write_text(text)
        site, problem = read_site(path)
        return [problem] if problem else check_partitions(site, partitions)

    good = "gpu_model: h200\npartitions:\n  cpu: {max_runtime: 2880}\n  gpu: {max_runtime: 1440, max_gpu: 4}\n"
    assert [found.level for found in check(good)] == ["ok", "ok"]
    assert_problem(check(good.replace("1440", "1500"))[1], "max_runtime", "1440")
    assert_problem(check(good.replace("max_gpu: 4", "max_gpu: 8"))[1], "max_gpu", "4 x h200")
    assert_problem(check(good.replace("h200", "a100"))[1], "a100")
    assert_problem(check(good.replace("  cpu:", "  long:"))[0], "no such partition", "cpu, gpu")
    assert_problem(check(good.replace("max_gpu", "gpus"))[0], "gpus")
    assert_problem(check(good.replace("gpu_model", "gpu_modle"))[0], "did you mean 'gpu_model'")
    assert_problem(check("account: x\n")[0], "no partitions")
    assert_problem(check("a: [\n")[0], str(path))


def test_needs_that_fit_no_partition_are_a_problem() -> None:
    partitions = {"cpu": PartitionFacts(True, 2880, 64000, 8, 2)}
    site = {"partitions": {"cpu": {"max_runtime": "2d"}}}
    assert check_needs({"convert": Needs(4000, 60)}, site, partitions)[0].level == "ok"
    assert_problem(check_needs({"train": Needs(4000, 60, 1)}, site, partitions)[0], "GPU")
    assert_problem(check_needs({"train": Needs(4000, 60, 0, nodes=3)}, site, partitions)[0], "3 nodes")
    assert_problem(check_needs({"train": Needs(65000, 60)}, site, partitions)[0], "65000 MB")
    assert check_needs({}, site, partitions)[0].level == "warning"


def test_gpus_of_one_node_and_of_all_its_nodes() -> None:
    partitions = {"gpu": PartitionFacts(True, 2880, 64000, 8, 2, {"h200": 4}, {"h200": 8})}
    site = {"partitions": {"gpu": {"max_gpu": 8}}}
    assert check_needs({"train": Needs(4000, 60, 8, nodes=2)}, site, partitions)[0].level == "ok"
    assert_problem(check_needs({"train": Needs(4000, 60, 8)}, site, partitions)[0], "8 GPU(s) on one node")


def test_partition_that_the_site_file_allows_and_cannot_run_a_rule_is_named() -> None:
    partitions = {
        name: PartitionFacts(True, 2880, 64000, 8, nodes, {"": 4}) for name, nodes in (("one", 1), ("two", 2))
    }
    site = {"partitions": {"one": {"max_gpu": 4}, "two": {"max_gpu": 8}}}
    needs = {"train": Needs(4000, 60, 4, nodes=2)}
    check = check_needs(needs, site, partitions)[0]
    assert check.level == "warning"
    assert "one: needs 2 nodes, there are 1" in check.found
    site["partitions"]["one"]["max_nodes"] = 1
    assert check_needs(needs, site, partitions)[0].level == "ok"


def test_rule_that_gets_fewer_minutes_than_it_asks_for_is_named() -> None:
    partitions = {"cpu": PartitionFacts(True, 2880, 64000, 8, 2)}
    site = {"partitions": {"cpu": {"max_runtime": "4h"}}}
    check = check_needs({"segment": Needs(4000, 720)}, site, partitions)[0]
    assert (check.level, check.name) == ("warning", "rule segment")
    assert "720 min" in check.found
    assert "240" in check.found
    # a training goes on after its time limit
    assert check_needs({"train": Needs(4000, 1440)}, site, partitions)[0].level == "ok"


def test_attempt_whose_needs_no_partition_allows_together_is_named() -> None:
    partitions = {name: PartitionFacts(True, 10_000, 640_000, 8, 2) for name in ("long", "large")}
    site = {"partitions": {"long": {"max_mem_mb": 40_000}, "large": {"max_runtime": 600}}}
    needs = {"prepare": Needs(16_000, 480)}
    assert check_needs(needs, site, partitions, 2)[0].level == "ok"
    check = check_needs(needs, site, partitions, 3)[0]
    assert (check.level, check.name) == ("warning", "rule prepare")
    assert "attempt 3 asks for 48000 MB and 1440 min" in check.found


def test_rules_of_the_login_node_are_known() -> None:
    local = list_local_rules()
    assert {"all", "retrieve", "retrieve_clinical", "prepare", "report"} <= local
    assert not {"convert", "mask", "train", "synthesize", "segment"} & local


def test_account_and_quality_of_service() -> None:
    accounts = {"study": {"normal"}}
    assert check_account({"account": "study", "qos": "normal"}, accounts).level == "ok"
    assert "study" in check_account({"account": ""}, accounts).advice
    assert_problem(check_account({"account": "other"}, accounts), "other", "study")
    assert_problem(check_account({"account": "study", "qos": "high"}, accounts), "high", "normal")
    assert check_account({"account": "study"}, None).level == "warning"


def test_settings_of_the_cluster() -> None:
    def levels(age: str, task: str) -> list[str]:
        return [check.level for check in check_settings({"MinJobAge": age, "TaskPlugin": task}, 20)]

    assert levels("300 sec", "task/cgroup") == ["ok", "ok"]
    assert levels("120 sec", "task/none") == ["warning", "warning"]
    assert levels("30 sec", "task/cgroup") == ["problem", "ok"]
    assert levels("", "task/cgroup") == ["problem", "ok"]
    assert parse_minutes("2-01:30:00") == 2970
    assert parse_minutes("infinite") == float("inf")


def test_configuration_path_that_the_plugin_would_lose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "srun").write_bytes(b"\x7fELF")
    (tmp_path / "srun").chmod(0o755)
    assert_problem(check_configuration_path(), "SLURM_CONF", "srun")
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    assert check_configuration_path().level == "ok"


def test_machine_without_slurm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    (check,) = check_slurm(tmp_path, Path("workflow/profiles/slurm"))
    assert_problem(check, "sbatch", "login node")
