"""The arithmetic of a group: exploration, advantages, towards the good and away from the bad, and the tether."""

from __future__ import annotations

import torch

from components.refinement import group
from components.restorer.conditioning import CONDITION, CONFIDENCES, SEVERITIES
from components.restorer.network import ACTIONS


def test_members_are_opposite_in_pairs_and_hear_nothing_new():
    condition = torch.zeros(2, CONDITION)
    condition[:, SEVERITIES.start] = 0.5
    condition[:, CONFIDENCES.start] = 0.5
    told, action = group.explore(condition, 4, 0.1, torch.Generator().manual_seed(1))
    assert told.shape == (8, CONDITION) and action.shape == (8, ACTIONS)
    assert torch.allclose(action.view(2, 4, -1).mean(1), torch.zeros(2, ACTIONS), atol=1e-6)
    assert torch.allclose(told.view(2, 4, -1).mean(1), condition, atol=1e-6)
    # what was not diagnosed is not made up
    assert torch.equal(told == 0, (condition == 0).repeat_interleave(4, 0))
    assert len(action.unique(dim=0)) == 8


def test_advantages_are_relative_to_the_group():
    values = group.advantages(torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
    assert torch.allclose(values[0], torch.tensor([-1.0, 0.0, 1.0]), atol=1e-3)
    assert torch.equal(values[1], torch.zeros(3))


def test_the_gradient_leads_to_the_good_and_away_from_the_bad():
    old = torch.full((1, 3, 4, 4), 0.5)
    tried = torch.stack([old + 0.1, old - 0.1], 1)
    spread = group.spread_of(tried, old)
    for advantage in (torch.tensor([[1.0, -1.0]]), torch.tensor([[-1.0, 1.0]])):
        now = old.clone().requires_grad_()
        group.regression(now, group.verdict(old, tried, advantage), spread).sum().backward()
        assert now.grad is not None
        # downhill is where the better member lies
        assert (now.grad.sign() == -advantage[0, 0].sign()).all()
    assert torch.equal(group.verdict(old, tried, torch.zeros(1, 2)), old)


def test_no_verdict_lies_beyond_the_members():
    """No reward is worth an unseen picture."""
    old = torch.full((1, 3, 4, 4), 0.5)
    tried = torch.stack([old + 0.1, old - 0.1], 1)
    assert torch.allclose(group.verdict(old, tried, torch.tensor([[99.0, -99.0]])), old + 0.1)


def test_what_is_wide_is_nobodys_to_judge():
    """A change of brightness or a slope over the picture is left out, grain stays."""
    slope = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    assert float(group.local(torch.ones(1, 3, 64, 64)).abs().max()) < 1e-6
    assert float(group.local(slope)[..., 16:-16].abs().max()) < 0.01
    grain = torch.randn((1, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    assert float((group.local(grain) - grain).std()) < 0.1


def test_the_tether_follows_its_target():
    tether = group.Tether(0.1, 0.5)
    for _ in range(20):
        tether.update(2.0)
    tight = tether.weight
    assert tight > 0.5
    for _ in range(40):
        tether.update(0.01)
    assert tether.weight < tight / 4
    free = group.Tether(0.0, 0.5)
    free.update(100.0)
    assert free.weight == 0


def test_divergence_is_measured_in_the_groups_spread():
    old = torch.zeros(2, 3, 4, 4)
    tried = torch.stack([torch.stack([old[0] + s, old[0] - s]) for s in (0.1, 0.2)])
    spread = group.spread_of(tried, old)
    assert torch.allclose(spread, torch.tensor([0.01, 0.04]))
    assert torch.allclose(group.divergence(old + 0.1, old, spread), torch.tensor([0.5, 0.125]))
