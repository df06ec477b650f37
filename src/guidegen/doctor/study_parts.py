"""What a study needs besides software: weights, text encoder, archive or network, remote."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from guidegen.doctor.check import Check, fail, ok, warn
from guidegen.errors import GuideGenError
from guidegen.study import Study

TIMEOUT_S = 10
HOSTS = {"idc": "idc-open-data.s3.amazonaws.com", "nbia": "nbia.cancerimagingarchive.net"}


def check_study(study: Study) -> list[Check]:
    """Check the parts of a study; its config was read already."""
    names = ", ".join(study.collections)
    return [
        ok("config", f"{study.root}: {len(study.collections)} collections ({names})"),
        check_environments(study),
        check_weights(study),
        check_encoder(study),
        check_source(study),
        check_remote(study),
    ]


def check_environments(study: Study) -> Check:
    """Check that the commands of the environments start."""
    settings = study.config.environments
    uses = {"core": settings.core}
    if _list_totalsegmentator(study):
        uses["segmentation"] = settings.segmentation
    # The rules put the environment that runs Snakemake first, too.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
    for name, command in uses.items():
        done = subprocess.run(
            f"{command} --version", shell=True, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            told = (done.stderr or done.stdout).strip()[:200]
            advice = f"environments.{name} must be a command that runs `guidegen` in that environment"
            return fail("environments", f"`{command} --version`: exit {done.returncode}: {told}", advice)
    return ok("environments", "; ".join(f"{name}: {command}" for name, command in uses.items()))


def check_weights(study: Study) -> Check:
    """Check that TotalSegmentator's weights, if a collection is labelled by it, are there and have their checksums."""
    from guidegen.mask.weights import find_altered, name_command, read_stated, resolve_home

    uses = _list_totalsegmentator(study)
    if not uses:
        return ok("weights", "none needed: no collection is labelled by TotalSegmentator")
    settings = study.config.mask.totalsegmentator
    home = resolve_home(study.root, settings)
    stated = read_stated(study.root, settings)
    if altered := find_altered(study.root, settings):
        return fail("weights", altered, name_command(study.root))
    if stated:
        return ok("weights", f"{len(stated)} files of TotalSegmentator in {home}, checksums as stated")
    if any((home / "nnunet" / "results").glob("*/*/fold_0/checkpoint_final.pth")):
        return warn("weights", f"models of TotalSegmentator in {home}, not yet stated", "`guidegen run` states them")
    return fail(
        "weights",
        f"none of TotalSegmentator in {home}, which labels {', '.join(uses)}",
        name_command(study.root),
    )


def check_encoder(study: Study) -> Check:
    """Check that the text encoder lies on this machine."""
    from guidegen.models.text import hash_encoder, locate_encoder

    settings = study.config.prepare.encoder
    try:
        return ok("text encoder", f"{settings.name} ({hash_encoder(settings)}), {locate_encoder(settings.name)}")
    except GuideGenError as error:
        return fail("text encoder", str(error), f"prepare.encoder.name in {study.root}/config/config.yaml names it")


def check_source(study: Study) -> Check:
    """Check that the series can be brought in: the archive is there, or the source's server answers."""
    settings = study.config.index
    if settings.source == "archive":
        table = study.root / settings.archive / "idc_index.parquet"
        if table.is_file() or settings.phantom:
            return ok("source", f"archive {table.parent}" + ("" if table.is_file() else ", made by `guidegen run`"))
        return fail("source", f"{table}: missing", "index.archive must name a folder with this file")
    address = urlsplit(study.config.retrieve.endpoint_url)
    host = address.hostname or HOSTS[settings.source]
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((host, port), timeout=TIMEOUT_S).close()
    except OSError as error:
        advice = (
            "retrieve runs where Snakemake runs: start it on a login node, or set retrieve.endpoint_url to a mirror"
        )
        return warn("source", f"{host}:{port} cannot be reached: {error}", advice)
    return ok("source", f"{settings.source}, {host}:{port} answers")


def check_remote(study: Study) -> Check:
    """Check that `version.remote` can be reached; nothing is written to it."""
    settings = study.config.version
    if not settings.remote:
        advice = "set version.remote to a folder, s3://bucket/prefix or ssh://host/path if a second copy is wanted"
        return warn("remote", "none: `guidegen version commit` keeps bulk in this folder only", advice)
    address = urlsplit(settings.remote)
    if address.scheme == "s3":
        return _check_s3(settings.remote, settings.endpoint_url)
    if address.scheme == "ssh":
        return _check_ssh(settings.remote)
    folder = study.root / Path(settings.remote).expanduser()
    # DVC makes the folder itself.
    above = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        return fail("remote", f"{folder}: {above} is no folder that you may write to", "change version.remote")
    return ok("remote", f"{folder}, {shutil.disk_usage(above).free / 1e9:.0f} GB free")


def _check_s3(remote: str, endpoint: str) -> Check:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    bucket = urlsplit(remote).netloc
    config = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"max_attempts": 1})
    try:
        boto3.client("s3", endpoint_url=endpoint or None, config=config).head_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError, ValueError) as error:
        advice = "check the bucket's name, version.endpoint_url, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return fail("remote", f"{remote}: {error}", advice)
    return ok("remote", f"{remote} answers" + (f" at {endpoint}" if endpoint else ""))


def _check_ssh(remote: str) -> Check:
    address = urlsplit(remote)
    port = ["-p", str(address.port)] if address.port else []
    host = f"{address.username}@{address.hostname}" if address.username else str(address.hostname)
    command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={TIMEOUT_S}", *port, host, "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return fail("remote", f"{remote}: there is no `ssh` here", "install OpenSSH's client")
    if done.returncode:
        told = re.sub(r"\s+", " ", done.stderr.strip())[:200]
        return fail("remote", f"{remote}: {told}", f"`{' '.join(command)}` must work without a question: set up a key")
    return ok("remote", f"{remote} answers")


def _list_totalsegmentator(study: Study) -> list[str]:
    return [name for name in study.collections if study.config.mask.uses("totalsegmentator", name)]
