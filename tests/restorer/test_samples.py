"""Batches of the restorer's training: the same whenever asked for, and each crop where its window says it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components import params
from components.restorer.conditioning import CONDITION, KNOWN
from components.restorer.config import RestorerParams
from components.restorer.data import Pairs
from components.restorer.network import at_window
from components.restorer.samples import BATCHES, Chunks
from tests.tiny import REPOSITORY, tiny_params

COUNT, SIDE = 6, 128


@pytest.fixture
def pairs() -> Pairs:
    """Pictures whose red rises to the right and whose green rises downwards: a colour names its place."""
    ramp = np.linspace(0, 255, SIDE).round().astype(np.uint8)
    picture = np.stack([np.tile(ramp, (SIDE, 1)), np.tile(ramp, (SIDE, 1)).T, np.zeros((SIDE, SIDE), np.uint8)], -1)
    told = torch.rand(COUNT, CONDITION, generator=torch.Generator().manual_seed(1))
    told[:, KNOWN] = 1
    names = [f"pair {i}" for i in range(COUNT)]
    return Pairs(names, ["haze"] * COUNT, [picture] * COUNT, [picture] * COUNT, told, told, torch.ones(COUNT, 5))


def chunks(pairs: Pairs, **changes) -> Chunks:
    values = {**tiny_params()["restorer"], "fresh_share": 0, "batch_size": 4, "crop_px": 32, **changes}
    return Chunks(pairs, params.parse("restorer", values, RestorerParams), REPOSITORY / "pretrained/reasoner")


def test_a_chunk_is_the_same_whatever_was_drawn_before(pairs):
    one, other = chunks(pairs), chunks(pairs)
    one[0]
    for a, b in zip(one[3], other[3], strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(one[3][0].degraded, one[4][0].degraded)
    assert len(one[3]) == BATCHES
    assert one[3][0].degraded.shape == (4, 3, 32, 32)


def test_a_crop_lies_where_its_window_says(pairs):
    for batch in chunks(pairs)[0]:
        assert torch.equal(batch.degraded, batch.clean)
        assert torch.equal(batch.cropped(batch.picture), batch.degraded)
        # colours of the crop, shrunk, are those of the shrunk photo in that window; borders are extrapolated
        found = at_window(batch.photo, batch.window, (16, 16))
        crop = torch.nn.functional.interpolate(batch.degraded, size=(16, 16), mode="area")
        assert (found - crop).abs()[..., 1:-1, 1:-1].max() < 0.02


def test_what_is_not_told_is_all_zero(pairs):
    silent = list(chunks(pairs, drop_diagnosis=1.0)[0])
    assert all(not batch.condition.any() and not batch.embedding.any() for batch in silent)
    told = list(chunks(pairs, drop_diagnosis=0.0, drop_embedding=0.0, misheard_share=0.0)[0])
    assert all(batch.condition[:, KNOWN].all() and batch.embedding.all() for batch in told)
