"""The literature's network has the literature's sizes, and learns."""

from __future__ import annotations

import pytest
import torch

from benchmarks.nafnet import NAFNet


@pytest.mark.parametrize(
    ("width", "down", "middle", "up", "millions"),
    [(16, (2, 2, 4), 6, (2, 2, 2), 1.03), (32, (1, 1, 2), 4, (1, 1, 1), 2.65), (24, (2, 2, 4), 8, (2, 2, 2), 2.81)],
)
def test_sizes_are_those_that_were_counted_elsewhere(width, down, middle, up, millions):
    net = NAFNet(width, down, middle, up)
    assert sum(weight.numel() for weight in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


def test_it_begins_as_nothing_and_every_weight_of_a_branch_learns():
    torch.manual_seed(0)
    net, image = NAFNet(8, (1, 1), 1, (1, 1)), torch.rand(2, 3, 32, 32)
    assert torch.equal(net(image), image)
    rate = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(3):
        rate.zero_grad()
        (net(image) - 0.5).square().mean().backward()
        rate.step()
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in net.parameters())
