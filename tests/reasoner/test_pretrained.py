"""The reasoner that comes with the repository still says what it said when it was trained."""

from __future__ import annotations

import numpy as np
import torch

from components.degradations.recipe import apply_recipe, make_step
from components.diagnosis import TYPES
from components.reasoner.reader import Reasoner
from tests.conftest import unseen_photos
from tests.tiny import REPOSITORY

FOLDER = REPOSITORY / "pretrained/reasoner"
LEVEL = 0.75


def test_what_is_plainly_there_is_found_on_photos_it_never_saw():
    reasoner = Reasoner(FOLDER)
    said, truth = [], []
    for number, photo in enumerate(unseen_photos(384)):
        for kind in (None, *TYPES):
            steps = [make_step(kind, LEVEL, torch.Generator().manual_seed(number))] if kind else []
            said.append(reasoner.diagnose([apply_recipe(photo, steps)])[0].severities())
            truth.append([float(kind == name) for name in TYPES])
    found, there = np.array(said) >= 1, np.array(truth) >= 1
    f1 = 2 * (found & there).sum(0) / (found.sum(0) + there.sum(0))
    clean = ~there.any(1)
    assert f1.mean() > 0.8, dict(zip(TYPES, f1.round(2), strict=True))
    assert (~found[clean].any(1)).mean() >= 0.8


def test_the_files_are_small_and_without_pickles():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 15e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md", ".jinja"}
