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
from components.inference import Models
from tests.conftest import unseen_photos
from tests.tiny import REPOSITORY

FOLDER = REPOSITORY / "pretrained/restorer"
SCORES = FOLDER / "scores.json"
LEVELS = (0.4, 0.8)
SIDE = 256


@pytest.fixture(scope="module")
def models() -> Models:
    return rnr.load("pretrained")


@pytest.fixture(scope="module")
def gains(models) -> dict[str, float]:
    """Mean gain in dB of PSNR by type over the unseen photos and LEVELS, and the least PSNR of a clean photo."""
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


def test_haze_that_a_person_wants_to_keep_stays_and_the_noise_goes(models):
    """As `rnr restore --edit haze=0`: what comes back is the hazy photo without its noise."""
    left, gained = [], []
    for number, photo in enumerate(unseen_photos(SIDE)):
        haze, noise = (
            make_step(kind, level, torch.Generator().manual_seed(number))
            for kind, level in (("haze", 0.6), ("noise", 0.6))
        )
        hazy, both = apply_recipe(photo, [haze]), apply_recipe(photo, [haze, noise])
        edited = models.restore(both, {"haze": 0}).image
        gained.append(psnr(edited, hazy) - psnr(both, hazy))
        left.append(psnr(edited, hazy) - psnr(edited, photo))
    assert np.mean(gained) > 3, gained
    assert np.mean(left) > 5, left


def test_the_pair_is_small_and_without_pickles():
    files = [path for path in FOLDER.parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 30e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md", ".jinja"}
