"""What the reward counts, and what the quality term takes for clean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.refinement.quality import CleanPhotos
from components.refinement.reward import Tried, drops_by_type, reward_terms
from components.restorer.data import as_batch


def tried(before: float, after: float, error: float = 0.0, known: bool = True, preferred: float = 0.0) -> Tried:
    clean = torch.full((1, 3, 8, 8), 0.5)
    first, second = (torch.full((1, 7), value) for value in (before, after))
    judged = torch.tensor([preferred])
    return Tried(first, second, clean + error, clean, torch.tensor([known]), torch.ones(1), judged)


def test_a_severity_that_rises_costs_double(config):
    falls, rises = (reward_terms(tried(*values), config) for values in ((50.0, 40.0), (40.0, 50.0)))
    assert float(falls["rise"]) == 0 and float(falls["severity"]) == pytest.approx(0.7 * config.weight_severity)
    assert float(rises["severity"] + rises["rise"]) == pytest.approx(-2 * 0.7 * config.weight_severity)


def test_a_fall_does_not_pay_for_a_rise_elsewhere(config):
    change = tried(40.0, 40.0)
    change.after[0, 0], change.after[0, 1] = 30, 50
    assert float(sum(reward_terms(change, config).values()) - sum(reward_terms(tried(40, 40), config).values())) < -0.05


def test_fidelity_prefers_the_clean_photo_and_is_silent_without_one(config):
    near, far = (reward_terms(tried(9, 9, error), config)["fidelity"] for error in (0.01, 0.1))
    assert float(near - far) == pytest.approx(config.weight_fidelity * 2, rel=1e-3)
    assert float(reward_terms(tried(9, 9, 0.1, known=False), config)["fidelity"]) == 0


def test_every_weight_can_be_switched_off(config):
    off = config.model_copy(update={f"weight_{name}": 0.0 for name in ("severity", "fidelity", "quality", "judge")})
    assert all(float(values.abs().sum()) == 0 for values in reward_terms(tried(60, 70, 0.1, preferred=1), off).values())
    only = off.model_copy(update={"weight_judge": 0.5})
    assert float(sum(reward_terms(tried(60, 70, 0.1, preferred=-1), only).values())) == -0.5


def test_drops_are_told_by_type(config):
    some = tried(40.0, 30.0)
    some.before[0, 0] = 0
    told = drops_by_type(some)
    assert "drop_haze" not in told and told["drop_rain"] == pytest.approx(10)


def test_damage_is_far_from_clean_photos(photos):
    windows = [photo[i : i + 96, j : j + 96] for photo in photos for i in (0, 48, 96) for j in (0, 48, 96)]
    clean = CleanPhotos(windows[:-9])
    held_out = as_batch(windows[-9:])
    noisy = (held_out + 0.15 * torch.randn(held_out.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    flat = torch.nn.functional.avg_pool2d(held_out, 9, stride=1, padding=4)
    normal = clean.distance(held_out)
    assert float(clean.distance(noisy).mean()) > 1.2 * float(normal.mean())
    assert float(clean.distance(flat).mean()) > 1.2 * float(normal.mean())
    assert np.isfinite(normal.numpy()).all()
