"""`rnr evaluate` beside the restorer from before refinement, where the pipeline's two are at hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.evaluation import measure
from components.restorer import network
from tests.rnr.conftest import run
from tests.tiny import REPOSITORY

SHAPE = network.Shape((16, 16, 16), (1, 1, 1), 128)


def restorer(seed: int) -> network.Restorer:
    torch.manual_seed(seed)
    made = network.Restorer(SHAPE)
    torch.nn.init.normal_(made.residual.weight, std=0.02)
    return made


@pytest.fixture
def refined(place: Path, photos) -> Path:
    """models/ of a pipeline, and a model folder that holds its refined restorer."""
    network.save(restorer(1), "models/restorer")
    network.save(restorer(2), "models/restorer-refined")
    (place / "model").mkdir()
    (place / "model/reasoner").symlink_to(REPOSITORY / "pretrained/reasoner")
    shutil.copytree("models/restorer-refined", "model/restorer")
    noise = np.random.default_rng(1).normal(0, 25, photos[0].shape)
    for folder, pixels in (("clean", photos[0]), ("bad", np.clip(photos[0] + noise, 0, 255).astype(np.uint8))):
        Path(folder).mkdir()
        Image.fromarray(pixels).save(f"{folder}/a.png")
    return place


def test_before_and_after_refinement_side_by_side(refined, monkeypatch, capsys):
    # pyiqa's scores are slow to import, and not what this is about
    monkeypatch.setattr(measure.metrics, "psnr", lambda a, b: float(-np.abs(a.astype(float) - b).mean()))
    monkeypatch.setattr(measure.metrics, "ssim", lambda a, b: 0.5)
    arguments = ("evaluate", "--clean", "clean", "--degraded", "bad", "--model", "model")
    assert run(*arguments, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    (row,) = report["photos"]
    assert {"psnr_unrefined", "ssim_unrefined", "severities_unrefined", "psnr_restored"} <= row.keys()
    assert report["mean"]["psnr_unrefined"] == row["psnr_unrefined"]
    assert run(*arguments) == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert "PSNR degraded" in head and "PSNR unrefined" in head and "PSNR restored" in head

    # another model is not this pipeline's, and has no before
    network.save(restorer(3), "model/restorer")
    assert run(*arguments, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["photos"]
    assert "psnr_unrefined" not in row
