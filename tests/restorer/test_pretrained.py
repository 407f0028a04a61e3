"""The pretrained pair still restores as well as when it was trained, on photos that no training of ours has seen.

RNR_WRITE_SCORES=1 python -m pytest tests/restorer/test_pretrained.py     # after a training: writes scores.json
"""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch

import rnr
from components.degradations.recipe import apply_recipe, make_step
from components.degradations.severity import psnr
from components.diagnosis import TYPES
from tests.conftest import unseen_photos
from tests.tiny import REPOSITORY

FOLDER = REPOSITORY / "pretrained/restorer"
SCORES = FOLDER / "scores.json"
LEVELS = (0.4, 0.8)
SIDE = 256


@pytest.fixture(scope="module")
def gains() -> dict[str, float]:
    """Mean gain in dB of PSNR by type over the unseen photos and LEVELS, and the least PSNR of a clean photo."""
    models = rnr.load("pretrained")
    found: dict[str, list[float]] = {kind: [] for kind in TYPES}
    clean = []
    for number, photo in enumerate(unseen_photos(SIDE)):
        clean.append(psnr(models.restore(photo).image, photo))
        for kind in TYPES:
            for level in LEVELS:
                degraded = apply_recipe(photo, [make_step(kind, level, torch.Generator().manual_seed(number))])
                found[kind].append(psnr(models.restore(degraded).image, photo) - psnr(degraded, photo))
    return {kind: round(float(np.mean(values)), 2) for kind, values in found.items()} | {
        "clean_psnr_least": round(min(clean), 2)
    }


def test_its_scores_are_what_scores_json_says(gains):
    if os.environ.get("RNR_WRITE_SCORES"):
        SCORES.write_text(json.dumps({"gain_db": gains}, indent=2) + "\n", encoding="utf-8")
    assert gains == pytest.approx(json.loads(SCORES.read_text(encoding="utf-8"))["gain_db"], abs=0.25)


def test_the_pair_is_small_and_without_pickles():
    files = [path for path in FOLDER.parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 30e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md", ".jinja"}
