"""Passes over memory in numpy give the bits that torch's pooling gives, which trained reasoners were shown."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from components.annotation.windows import mean_near, mean_of_nine
from components.reasoner import fields

RGB = torch.rand((2, 3, 61, 50), generator=torch.Generator().manual_seed(0))
FIELD = RGB[:, 0].contiguous()


@pytest.mark.parametrize("window", [3, 5, 9])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_extremes_near_by_at_every_step(window, step):
    largest = F.max_pool2d(FIELD, window, 1, window // 2)[:, ::step, ::step]
    least = -F.max_pool2d(-FIELD, window, 1, window // 2)[:, ::step, ::step]
    assert torch.equal(torch.from_numpy(fields.most_near(FIELD.numpy(), window, step)), largest)
    assert torch.equal(torch.from_numpy(fields.least_near(FIELD.numpy(), window, step)), least)


def test_means_of_channels_and_neighbours():
    assert torch.equal(torch.from_numpy(fields.grey(RGB.numpy())), RGB.mean(1))
    assert torch.equal(torch.from_numpy(fields.halved(RGB.numpy())), F.avg_pool2d(RGB, 2))
    around = F.avg_pool2d(F.pad(FIELD[:, None], (1, 1, 1, 1), mode="replicate"), 3, 1)
    assert torch.equal(torch.from_numpy(fields.mean_of_nine(FIELD.numpy())), around[:, 0])
    assert torch.equal(mean_of_nine(FIELD[:, None]), around)
    down = F.avg_pool2d(FIELD[:, None], (9, 1), 1, (4, 0), count_include_pad=False)
    assert torch.equal(mean_near(FIELD[:, None], 9), F.avg_pool2d(down, (1, 9), 1, (0, 4), count_include_pad=False))


@pytest.mark.parametrize("places", [[5], [0, 7, 3049], [1, 2, 3, 4, 3000]])
def test_quantiles_are_places_in_order(places):
    rows = FIELD.reshape(2, -1)
    for place, value in zip(places, fields.quantiles(rows.numpy(), places), strict=True):
        assert torch.equal(torch.from_numpy(value), rows.sort(-1).values[:, place])
