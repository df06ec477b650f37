"""The site file `config/slurm.yaml` against the cluster, and the rules' needs against both."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from guidegen.assets import ASSETS
from guidegen.cluster.site import NO_LIMITS, PartitionLimits, Site
from guidegen.config import suggest
from guidegen.doctor.check import Check, fail, ok, warn
from guidegen.doctor.scheduler import PartitionFacts

KEYS = ("account", "qos", "gpu_model", "scratch", "partitions")
RULE = re.compile(r"^rule (\w+):$")
LOCAL_RULES = re.compile(r"^localrules:\n((?:    \w+,\n)+)", re.MULTILINE)
NEED = re.compile(r"\b(mem_mb|runtime|gpu|nodes)=(\d+)")


@dataclass(frozen=True)
class Needs:
    """What the largest job of a rule asks for at its first attempt, where no limit cuts it."""

    mem_mb: int = 0
    runtime: int = 0
    """Minutes."""
    gpu: int = 0
    """On all its nodes together."""
    nodes: int = 1


def read_site(path: Path) -> tuple[dict[str, Any], Check | None]:
    """Read the site file; return it with a problem if it cannot be used."""
    advice = f"edit {path}; {ASSETS / 'config' / 'slurm.yaml'} shows what belongs there"
    try:
        site = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        return {}, fail("site file", f"{path}: {' '.join(str(error).split())}", advice)
    if not isinstance(site, dict) or not isinstance(site.get("partitions"), dict) or not site["partitions"]:
        return {}, fail("site file", f"{path}: no partitions", advice)
    if unknown := [key for key in site if key not in KEYS]:
        return {}, fail("site file", f"{path}: unknown key '{unknown[0]}'; {suggest(str(unknown[0]), KEYS)}", advice)
    from snakemake_executor_plugin_slurm.partitions import read_partition_file
    from snakemake_interface_common.exceptions import WorkflowError

    try:
        read_partition_file(path)
    except (WorkflowError, TypeError, KeyError, ValueError, AttributeError) as error:
        return {}, fail("site file", f"{path}: partitions: {error}", advice)
    return site, None


def check_account(site: dict[str, Any], accounts: dict[str, set[str]] | None) -> Check:
    """Check account and QOS against what the user may use."""
    account, qos = str(site.get("account") or ""), str(site.get("qos") or "")
    if accounts is None:
        return warn("account", "sacctmgr does not answer: account and QOS were not checked", "ask the site")
    known = ", ".join(sorted(accounts)) or "none"
    if not account:
        advice = f"set account in the site file to one of: {known}"
        return warn("account", "none given; the plugin takes the account of your last job, a guess", advice)
    if account not in accounts:
        return fail("account", f"'{account}' is not yours", f"set account in the site file to one of: {known}")
    if qos and qos not in accounts[account]:
        yours = ", ".join(sorted(accounts[account])) or "none"
        return fail("account", f"account {account} has no QOS '{qos}'", f"set qos in the site file to one of: {yours}")
    return ok("account", account + (f", QOS {qos}" if qos else ""))


def check_partitions(site: dict[str, Any], partitions: dict[str, PartitionFacts]) -> list[Check]:
    """Check each partition of the site file against sinfo."""
    return [_check_partition(name, limits or {}, site, partitions) for name, limits in site["partitions"].items()]


def _check_partition(
    name: str, limits: dict[str, Any], site: dict[str, Any], partitions: dict[str, PartitionFacts]
) -> Check:
    label = f"partition {name}"
    if name not in partitions:
        return fail(label, "the cluster has no such partition", f"sinfo lists: {', '.join(partitions) or 'none'}")
    facts = partitions[name]
    if not facts.up:
        return fail(label, "it is down", "wait, or take it out of the site file")
    told = PartitionLimits.parse(limits)
    if told.minutes > facts.minutes:
        found = f"max_runtime is {told.minutes:g} min, the cluster allows {facts.minutes:g}"
        return fail(label, f"{found}; jobs in between are refused", f"set max_runtime to {facts.minutes:g}")
    model = str(site.get("gpu_model") or "")
    most = facts.all_gpus.get(model, 0) if model else max(facts.all_gpus.values(), default=0)
    models = ", ".join(f"{count} x {name or 'gpu'}" for name, count in facts.gpus.items()) or "none"
    if told.gpus > most:
        what = f"max_gpu is {told.gpus}" + (f" of model {model}" if model else "")
        found = f"{what}; the partition has {facts.nodes} node(s), with at most {models} each"
        return fail(label, found, "correct max_gpu or gpu_model in the site file")
    for key, there in (("max_mem_mb", facts.memory_mb), ("max_threads", facts.cpus)):
        if limits.get(key, 0) > there:
            return fail(label, f"{key} is {limits[key]}; the largest node has {there}", f"set {key} to {there}")
    found = f"{facts.nodes} node(s), {facts.cpus} cores, {facts.memory_mb} MB, GPUs per node: {models}"
    return ok(label, found)


def read_needs(root: Path) -> dict[str, Needs]:
    """Return the needs of every rule that goes to the cluster, from a dry run of the whole study from nothing.

    They are what the rules ask for without the site's limits. Empty where the dry run fails (no index yet).
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ASSETS / "Snakefile"), "--directory", str(root)]
    command += ["--forceall", "--dry-run", "--cores", "1"]
    environment = os.environ | {"GUIDEGEN_SLURM": NO_LIMITS}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    local = list_local_rules()
    needs: dict[str, Needs] = {}
    rule = ""
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        if match := RULE.match(line):
            rule = match[1]
        elif rule not in local and line.strip().startswith("resources:"):
            found = {key: int(value) for key, value in NEED.findall(line)}
            old = needs.get(rule, Needs())
            keys = ("mem_mb", "runtime", "gpu", "nodes")
            needs[rule] = Needs(**{key: max(getattr(old, key), found.get(key, 0)) for key in keys})
    return needs


def list_local_rules() -> set[str]:
    """Return the rules that run on the login node; a dry run does not tell them from others."""
    texts = [path.read_text(encoding="utf-8") for path in (ASSETS / "Snakefile", *(ASSETS / "rules").glob("*.smk"))]
    return {name for text in texts for block in LOCAL_RULES.findall(text) for name in re.findall(r"\w+", block)}


def check_needs(
    needs: dict[str, Needs], site: dict[str, Any], partitions: dict[str, PartitionFacts], attempts: int = 1
) -> list[Check]:
    """Check that each rule's attempts fit a partition: the plugin sends what fits nowhere to the default one.

    Args:
        needs: of each rule's first attempt.
        site: the site file.
        partitions: what the cluster has.
        attempts: how often a job is tried; each attempt asks for more.
    """
    limits = {name: PartitionLimits.parse(entry or {}) for name, entry in site["partitions"].items()}
    checks = [check for rule, need in needs.items() if (check := _check_rule(rule, need, limits, partitions, attempts))]
    if not needs:
        advice = "build the index (`guidegen index`), then ask again"
        return [warn("rules", "a dry run of the study failed, so that the rules' needs were not checked", advice)]
    return checks or [ok("rules", f"{len(needs)} rules fit a partition at each of {attempts} attempts")]


def _check_rule(
    rule: str,
    need: Needs,
    limits: dict[str, PartitionLimits],
    partitions: dict[str, PartitionFacts],
    attempts: int,
) -> Check | None:
    refused = {name: _find_misfit(need, entry) for name, entry in limits.items()}
    lacking = {name: _find_lack(need, partitions[name]) for name in limits if name in partitions and not refused[name]}
    if all(refused.values()) or (lacking and all(lacking.values())):
        told = "; ".join(f"{name}: {reason}" for name, reason in (refused | lacking).items())
        advice = "correct the limits in the site file, or lower the rule's needs with set-resources in the profile"
        return fail(f"rule {rule}", f"fits no partition ({told})", advice)
    if short := {name: reason for name, reason in lacking.items() if reason}:
        told = "; ".join(f"{name}: {reason}" for name, reason in short.items())
        found = f"the site file lets it go where it cannot run ({told})"
        return warn(f"rule {rule}", found, "set max_nodes, max_mem_mb and max_gpu of that partition to what it has")
    caps = Site(tuple(limits.values()))
    memory, minutes = (
        [cap(amount * n, need.gpu) for n in range(1, attempts + 1)]
        for cap, amount in ((caps.cap_memory, need.mem_mb), (caps.cap_minutes, need.runtime))
    )
    for attempt, asked in enumerate(zip(memory, minutes, strict=True), 1):
        if not any(asked[0] <= entry.memory_mb and asked[1] <= entry.minutes for entry in caps.list_fitting(need.gpu)):
            found = f"attempt {attempt} asks for {asked[0]} MB and {asked[1]} min, which no partition allows together"
            advice = "it would go to the cluster's default partition; give the rule less with set-resources"
            return warn(f"rule {rule}", found, advice)
    if minutes[0] < need.runtime and rule != "train":
        found = f"asks for {need.runtime} min and gets {minutes[0]}, the most that a partition allows"
        advice = "a job that takes longer is tried again: phases by shard go on where they were, others begin anew"
        return warn(f"rule {rule}", found, advice)
    return None


def _find_misfit(need: Needs, limits: PartitionLimits) -> str:
    """Return why the site file keeps a rule from a partition."""
    if need.gpu > limits.gpus:
        return f"needs {need.gpu} GPU(s)"
    if need.nodes > limits.nodes:
        return f"needs {need.nodes} nodes"
    return f"needs {need.mem_mb} MB" if need.mem_mb > limits.memory_mb else ""


def _find_lack(need: Needs, facts: PartitionFacts) -> str:
    """Return what the nodes of a partition lack for a rule."""
    if need.nodes > facts.nodes:
        return f"needs {need.nodes} nodes, there are {facts.nodes}"
    each = need.gpu // need.nodes
    if each > max(facts.gpus.values(), default=0):
        return f"needs {each} GPU(s) on one node"
    return f"needs {need.mem_mb} MB, a node has {facts.memory_mb}" if need.mem_mb > facts.memory_mb else ""
