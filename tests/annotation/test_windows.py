"""Largest values and means near by are those of the pooling that torch has."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from components.annotation.windows import mean_near, most_near

FIELD = torch.rand((2, 1, 37, 50), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("window", [1, 3, 5, 9])
def test_the_largest_near_by(window):
    assert torch.equal(most_near(FIELD, window), F.max_pool2d(FIELD, window, 1, window // 2))


def test_the_mean_near_by_does_not_count_what_lies_outside():
    expected = F.avg_pool2d(FIELD, 9, 1, 4, count_include_pad=False)
    assert torch.allclose(mean_near(FIELD, 9), expected, atol=1e-6)


def test_a_picture_smaller_than_the_window_has_one_largest_value():
    small = FIELD[..., :3, :4]
    assert torch.equal(most_near(small, 9), small.amax((-2, -1), keepdim=True).expand_as(small))
