"""Estimates follow from the index, the config and the measured costs, and say what they do not know."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from guidegen.assets import ASSETS
from guidegen.config import StudyConfig
from guidegen.config_files import load_preset
from guidegen.errors import GuideGenError
from guidegen.estimate.estimate import COLUMNS, COSTS, estimate_study
from guidegen.estimate.networks import count_networks
from guidegen.study import Study
from guidegen.tables import read_tsv
from guidegen.train.counting import count_work


def test_every_cost_says_how_it_was_measured() -> None:
    rows = read_tsv(COSTS, COLUMNS)
    assert rows
    for row in rows:
        assert float(row["value"]) >= 0
        assert len(row["measured"]) > 10, row


def test_disk_of_the_smoke_study_is_near_what_it_takes(smoke_study: Path) -> None:
    study = Study.load(smoke_study)
    estimate = {phase.phase: phase for phase in estimate_study(study).phases}
    state = ".guidegen/state"
    parts = {
        "index": ["archive"],
        "retrieve": ["data/raw"],
        "convert": ["data/ct"],
        "mask": ["data/mask"],
        "pair": ["data/text"],
        "prepare": ["data/cohort"],
        "train": ["results/models", f"{state}/results/models"],
        "synthesize": ["results/synthetic"],
        "segment": ["results/segmentation", f"{state}/results/segmentation"],
    }
    for phase, folders in parts.items():
        found = [file.stat().st_size for name in folders for file in (smoke_study / name).rglob("*") if file.is_file()]
        assert estimate[phase].disk_gb == pytest.approx(sum(found) / 1e9, rel=0.3), phase
    assert estimate["retrieve"].download_gb == 0, "the archive is here already"
    assert estimate["convert"].jobs == sum(len(study.list_shards(name)) for name in study.collections)


def test_paper_config_needs_a_download_and_gpus(tmp_path: Path, call) -> None:
    call("init", tmp_path / "paper")
    with pytest.raises(GuideGenError, match="guidegen index"):
        estimate_study(Study.load(tmp_path / "paper"))
    call("index", "--study", tmp_path / "paper")
    told = json.loads(call("estimate", "--study", tmp_path / "paper", "--json").stdout)
    # One series each of 681 patients, of 224 GB in 2,755 eligible series.
    assert 40 < told["total"]["download_gb"] < 224
    assert told["total"]["gpu_h"] > 1
    assert any("not measured" in note for note in told["notes"])


def test_work_of_a_convolution_is_that_of_its_definition() -> None:
    with torch.device("meta"), torch.no_grad():
        convolution, volume = nn.Conv3d(3, 5, 3, padding=1, bias=False), torch.empty(2, 3, 8, 8, 8)
        work = count_work(lambda: convolution(volume))
    assert work.operations == 2 * (2 * 8**3 * 5) * (3 * 27)
    assert work.moved == 4 * (2 * 3 * 8**3 + 5 * 3 * 27 + 2 * 5 * 8**3)


def test_training_costs_grow_with_steps_and_batch() -> None:
    config = load_preset("smoke")
    longer = config.model_dump()
    longer["train"]["semantic_synthesizer"]["optimization"]["steps"] *= 2
    longer["train"]["semantic_synthesizer"]["optimization"]["batch"] *= 3
    once = count_networks(Study(ASSETS, config))
    more = count_networks(Study(ASSETS, StudyConfig.model_validate(longer)))
    ratio = {stage: more.training[stage] / once.training[stage] for stage in once.training}
    assert ratio == pytest.approx({"semantic_synthesizer": 6, "contrast_autoencoder": 1, "latent_generator": 1})
    assert more.sampling == once.sampling
    assert once.sampling.operations > 0
