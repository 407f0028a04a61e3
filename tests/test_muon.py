"""Our Muon is PyTorch's, but for the rounding of bfloat16."""

from __future__ import annotations

import pytest
import torch

from components.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_singular_values_become_about_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.5 and values.max() < 1.3
    # the directions stay
    assert torch.trace(orthogonal(matrix).T @ matrix) > 0.9 * torch.linalg.svdvals(matrix).sum() * values.min()


def test_steps_are_those_of_pytorch_and_states_are_exchanged():
    torch.manual_seed(0)
    start, target = torch.randn(12, 20), torch.randn(12, 20)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    own = Muon([ours], lr=0.01, weight_decay=0.1)
    other = torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for number in range(6):
        if number == 3:
            own.load_state_dict(other.state_dict())
            ours.data.copy_(theirs)
        for weight, optimiser in ((ours, own), (theirs, other)):
            optimiser.zero_grad()
            (weight - target).square().sum().backward()
            optimiser.step()
        # a step is 0.01 * 0.2 * sqrt(20) times about one
        assert torch.allclose(ours, theirs, atol=1e-3)
    assert (ours - start).abs().mean() > 0.01
