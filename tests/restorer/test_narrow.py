"""A narrower restorer acts as the wide one did, as far as its widths allow."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from components.restorer import deblur, network
from components.restorer.conditioning import CONDITION
from components.restorer.narrow import Moments, narrowed
from components.restorer.network import Restorer, Shape
from components.restorer.samples import Batch

WIDTHS = (16, 24, 32)


def lively(widths: tuple[int, int, int]) -> Restorer:
    """A restorer in which every weight does something."""
    torch.manual_seed(0)
    made = Restorer(Shape(widths, (1, 2, 1), 12)).eval()
    with torch.no_grad():
        for layer in made.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                layer.weight.add_(0.4 * torch.randn_like(layer.weight) * layer.weight[0].numel() ** -0.5)
                if layer.bias is not None:
                    layer.bias.add_(0.1 * torch.randn_like(layer.bias))
    return made


def batch(seed: int, count: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    condition = draw(count, CONDITION)
    picture = nn.functional.interpolate(draw(count, 3, 12, 12), (96, 96), mode="bilinear")
    crop = picture[..., 16:80, 16:80]
    return Batch(
        crop,
        (crop + 0.2 * draw(count, 3, 1, 1)).clamp(0, 1),
        condition,
        picture,
        torch.full((count, 2), 16),
        draw(count, 12),
        network.shrunk(picture),
        torch.tensor([16 / 96, 16 / 96, 80 / 96, 80 / 96]).expand(count, 4),
        draw(count, deblur.PRINTS),
        condition,
    )


def answer(restorer: Restorer, asked: Batch) -> torch.Tensor:
    with torch.no_grad():
        return restorer(asked.degraded, asked.condition, asked.embedding, whole=asked.whole)


@pytest.fixture(scope="module")
def wide() -> tuple[Restorer, Moments]:
    restorer = lively(WIDTHS)
    moments = Moments(restorer)
    for seed in range(3):
        moments.take(batch(seed))
    return restorer, moments


def apart(wide: tuple[Restorer, Moments], widths: tuple[int, int, int]) -> float:
    """Mean absolute difference on pictures that the moments have not seen, as a share of what the wide one does."""
    asked = batch(9)
    before, after = answer(wide[0], asked), answer(narrowed(*wide, widths), asked)
    return float((after - before).abs().mean() / (before - asked.degraded).abs().mean())


def test_as_wide_as_before_it_does_the_same(wide):
    assert apart(wide, WIDTHS) < 1e-4


def test_each_channel_less_costs_more(wide):
    losses = [apart(wide, widths) for widths in ((15, 22, 30), (12, 18, 24), (4, 4, 4))]
    assert losses == sorted(losses)
    assert losses[0] < 0.2, losses


def test_channels_that_only_repeat_others_cost_nothing(wide):
    """A stream of 24 channels that lies in 20 dimensions is as good in 20."""
    restorer = lively(WIDTHS)
    with torch.no_grad():
        basis, _ = torch.linalg.qr(torch.randn(24, 20, generator=torch.Generator().manual_seed(1)))
        flat = basis @ basis.T
        for layer in [restorer.down1, *(block.second for lv in (restorer.encode2, restorer.decode2) for block in lv)]:
            layer.weight.copy_(torch.einsum("oihw,po->pihw", layer.weight, flat))
            layer.bias.copy_(flat @ layer.bias)
        up = restorer.up2.weight.unflatten(0, (24, 4))
        restorer.up2.weight.copy_(torch.einsum("opihw,qo->qpihw", up, flat).flatten(0, 1))
        restorer.up2.bias.copy_((flat @ restorer.up2.bias.unflatten(0, (24, 4))).flatten())
    moments = Moments(restorer)
    for seed in range(3):
        moments.take(batch(seed))
    read, written = moments.directions("quarter", 20)
    assert torch.allclose(read @ written.T @ flat, flat, atol=1e-3)
    assert torch.allclose(written.T @ read, torch.eye(20), atol=1e-4)
