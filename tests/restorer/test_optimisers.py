"""Muon moves the very filters of the restorer, and goes on from a saved state as if never stopped."""

from __future__ import annotations

import copy

import pytest
import torch

from components.restorer import network
from components.restorer.conditioning import CONDITION
from components.restorer.optimisers import Optimisers

SHAPE = network.Shape((16, 16, 16), (1, 1, 1), 12)


def restorer() -> network.Restorer:
    torch.manual_seed(0)
    return network.Restorer(SHAPE).to(memory_format=torch.channels_last)


def learn(model: network.Restorer, optimisers: Optimisers, steps: range) -> list[float]:
    losses = []
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        image = torch.rand(2, 3, 32, 32, generator=generator)
        loss = (model(image, torch.rand(2, CONDITION, generator=generator)) - 0.5 * image).square().mean()
        model.zero_grad(set_to_none=True)
        loss.backward()
        optimisers.step(0.003)
        losses.append(float(loss.detach()))
    return losses


def test_it_learns_and_every_filter_moves():
    model = restorer()
    model.policy.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    losses = learn(model, Optimisers(model), range(12))
    assert losses[-1] < 0.7 * losses[0]
    still = [name for name, value in model.state_dict().items() if torch.equal(value, before[name])]
    # nobody told it a hidden state, nor what kernel there was
    assert {name.split(".")[0] for name in still} == {"policy", "hear_embedding", "guesser"}


def test_a_resumed_state_goes_on_as_if_never_stopped():
    whole, first = restorer(), restorer()
    learn(whole, Optimisers(whole), range(6))
    optimisers = Optimisers(first)
    learn(first, optimisers, range(3))
    second = restorer()
    second.load_state_dict(first.state_dict())
    resumed = Optimisers(second)
    resumed.load_state_dict(copy.deepcopy(optimisers.state_dict()))
    learn(second, resumed, range(3, 6))
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_filters_that_lie_otherwise_are_refused():
    with pytest.raises(ValueError, match="channels last"):
        Optimisers(network.Restorer(SHAPE))
