"""The arithmetic of the refinement: advantages, clipping, KL, and what the reward counts."""

from __future__ import annotations

import pytest
import torch

from components.refinement import grpo
from components.refinement.config import RefineParams
from components.refinement.refine import similarity
from components.refinement.reward import reward_terms
from tests.tiny import tiny_params

CONFIG = RefineParams.model_validate(tiny_params()["refine"])


def test_advantages_are_relative_to_the_group():
    values = grpo.advantages(torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
    assert torch.allclose(values[0], torch.tensor([-1.0, 0.0, 1.0]), atol=1e-3)
    assert torch.equal(values[1], torch.zeros(3))


def test_the_gradient_moves_towards_the_rewarded_action():
    mean = torch.zeros(2, 3, requires_grad=True)
    action = torch.tensor([[0.1, 0, 0], [-0.1, 0, 0]])
    old = grpo.log_probability(action, mean.detach(), CONFIG.action_sigma)
    policy, divergence = grpo.loss_terms(mean, old, action, torch.tensor([1.0, -1.0]), CONFIG)
    assert float(divergence) == 0
    policy.backward()
    assert float(mean.grad[0, 0]) < 0 and float(mean.grad[1, 0]) < 0


def test_a_ratio_beyond_the_clip_stops_pulling():
    mean = torch.full((1, 3), 0.5, requires_grad=True)
    action = torch.full((1, 3), 0.6)
    old = grpo.log_probability(action, torch.zeros(1, 3), CONFIG.action_sigma)
    policy, _ = grpo.loss_terms(mean, old, action, torch.tensor([1.0]), CONFIG)
    policy.backward()
    assert torch.equal(mean.grad, torch.zeros(1, 3))


def test_a_severity_that_rises_costs_double():
    picture = torch.rand(1, 3, 8, 8)
    falls = reward_terms(torch.full((1, 7), 50.0), torch.full((1, 7), 40.0), picture, picture, CONFIG)
    rises = reward_terms(torch.full((1, 7), 40.0), torch.full((1, 7), 50.0), picture, picture, CONFIG)
    assert float(falls["rise"]) == 0 and float(falls["severity"]) == pytest.approx(0.7)
    assert float(rises["severity"] + rises["rise"]) == pytest.approx(-2 * 0.7)


def test_fidelity_prefers_the_clean_photo():
    clean = torch.full((1, 3, 8, 8), 0.5)
    same = torch.zeros(1, 7)
    near, far = (reward_terms(same, same, clean + d, clean, CONFIG)["fidelity"] for d in (0.01, 0.1))
    assert float(near - far) == pytest.approx(CONFIG.weight_fidelity * 2, rel=1e-3)


def test_similarity_is_one_for_equal_pictures_and_falls_with_noise():
    picture = torch.rand(1, 3, 32, 32)
    assert similarity(picture, picture) == pytest.approx(1)
    assert similarity(picture, (picture + 0.2 * torch.randn_like(picture)).clamp(0, 1)) < 0.95
