"""Photos of any size: tiles without seams, in integers of 8 or 16 bits, one by one or in batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from components.degradations.recipe import apply_recipe
from components.diagnosis import Diagnosis
from components.restorer import deblur, network, tiles
from components.restorer.conditioning import CONDITION, condition_vector

ANGLE = 60.0
HAZE = condition_vector(Diagnosis.model_validate({"findings": {"haze": {"severity": 60}}}))


@pytest.fixture
def restorer() -> network.Restorer:
    """A network that changes a photo about as much as a trained one does (some 20 of 255), with every weight."""
    torch.manual_seed(0)
    made = network.Restorer(network.Shape((16, 24, 32), (1, 2, 3), 12)).eval()
    with torch.no_grad():
        for layer in made.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                layer.weight.add_(0.5 * torch.randn_like(layer.weight) * layer.weight[0].numel() ** -0.5)
        for head in (made.affine, made.residual):
            head.weight.mul_(0.15)
        made.policy.weight.zero_()
    return made


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "TILE", 192)


def photo(height: int, width: int, white: int = 255) -> np.ndarray:
    """Large and small things, flat places and noise; uint16 where `white` asks for it."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    scene = 0.5 + 0.3 * np.sin(x / 70 + y / 45) + 0.1 * np.sign(np.sin(x / 9)) * (y > height / 2)
    scene = scene[..., None] * (1, 0.9, 0.7) + 0.04 * random.standard_normal((height, width, 3)) * (x > 99)[..., None]
    return (scene.clip(0, 1) * white).round().astype(np.uint8 if white == 255 else np.uint16)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (65, 64), (130, 70), (640, 8), (9, 737)])
@pytest.mark.parametrize("white", [255, 65535])
def test_any_size_comes_back_as_it_went_in(restorer, size, white):
    before = photo(*size, white)
    after = tiles.restore(restorer, before, HAZE, None)
    assert (after.shape, after.dtype) == (before.shape, before.dtype)


@pytest.mark.parametrize("size", [(500, 413), (200, 300), (192, 193), (610, 100)])
def test_tiles_leave_no_seam(restorer, monkeypatch, size):
    """In 16 bits, where rounding hides nothing: less than 1/255 on average, 4/255 at most."""
    before = photo(*size, 65535)
    whole = tiles.restore(restorer, before, HAZE, None)
    monkeypatch.setattr(tiles, "TILE", 192)
    pieces = tiles.restore(restorer, before, HAZE, None)
    effect = np.abs(whole.astype(float) - before).mean() / 257
    apart = np.abs(whole.astype(float) - pieces) / 257
    assert 5 < effect < 60
    assert apart.mean() < 0.1
    assert apart.max() < 4


def test_where_nothing_changes_every_value_stays(small_tiles):
    new = network.Restorer(network.Shape((16, 16, 16), (1, 1, 1), 12)).eval()
    for white in (255, 65535):
        before = photo(333, 401, white)
        assert np.array_equal(tiles.restore(new, before, HAZE, None), before)


def test_sixteen_bits_say_more_than_eight(restorer, small_tiles):
    eight = photo(250, 220)
    deep = tiles.restore(restorer, eight.astype(np.uint16) * 257, HAZE, torch.randn(12))
    assert np.abs(deep / 257 - np.round(deep / 257)).max() > 0.4
    again = tiles.restore(restorer, eight, HAZE, torch.zeros(12))
    plain = tiles.restore(restorer, eight.astype(np.uint16) * 257, HAZE, None)
    assert np.abs(plain / 257 - again).max() <= 0.51


@pytest.mark.parametrize("batch", [2, 3, 8])
def test_batches_change_nothing(restorer, small_tiles, batch):
    before = photo(300, 500)
    seen = []
    restorer.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    one = tiles.restore(restorer, before, HAZE, torch.randn(12, generator=torch.Generator().manual_seed(1)))
    singly, seen[:] = len(seen), []
    several = tiles.restore(
        restorer, before, HAZE, torch.randn(12, generator=torch.Generator().manual_seed(1)), batch=batch
    )
    assert np.abs(one.astype(int) - several).max() <= 1
    assert sum(shape[0] for shape in seen) == singly
    assert max(shape[0] for shape in seen) == min(batch, len(tiles.spans(500)) - 1)


def test_no_tile_is_larger_than_it_may_be(restorer, small_tiles):
    restorer.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    seen: list[tuple[int, int]] = []
    tiles.restore(restorer, photo(301, 600), HAZE, None)
    assert max(max(size) for size in seen) == 192
    assert all(side % network.STRIDE == 0 for size in seen for side in size)


@pytest.mark.parametrize("size", [(64, 64), (5, 300), (200, 333), (1000, 70)])
def test_what_is_seen_of_the_whole_photo_is_what_the_network_learnt_from(size):
    before = photo(*size)
    expected = network.shrunk(torch.from_numpy(before).permute(2, 0, 1)[None].float() / 255)
    assert torch.allclose(tiles.survey(before), expected, atol=1e-5)
    prints = deblur.prints(torch.from_numpy(before).permute(2, 0, 1).float() / 255)
    assert torch.allclose(tiles.prints(before), prints, atol=1e-5)


class Sure(nn.Module):
    """A guesser that is sure of one kernel."""

    def __init__(self, kind: str, extent: float) -> None:
        super().__init__()
        self.kind, self.extent = kind, extent

    def forward(self, condition: torch.Tensor, prints: torch.Tensor) -> torch.Tensor:
        odds = [9.0 * (kind == self.kind) for kind in deblur.KINDS]
        twice = 2 * math.radians(ANGLE)
        wide = [math.log(self.extent)] * (deblur.WIDE.stop - deblur.WIDE.start)
        return torch.tensor([[*odds, *wide, math.cos(twice), math.sin(twice), *deblur.LEAST_DOUBT]])


@pytest.mark.parametrize(("kind", "extent"), [("motion", 20.0), ("motion", 9.0), ("defocus", 9.0), ("defocus", 7.0)])
def test_a_tile_is_sharpened_as_the_whole_is(restorer, kind, extent):
    """A filter that divides by next to nothing rings far; past what is blended away tiles and whole must agree."""
    params = {"kind": kind, "extent_px": extent, "angle_deg": ANGLE}
    seen = apply_recipe(
        photo(320, 904), [{"type": "blur", "level": 0.5, "seed": 1, "params": params, "factors": params}]
    )
    restorer.guesser = Sure(kind, extent)
    prints, condition = torch.zeros(1, deblur.PRINTS), torch.zeros(CONDITION)
    place = (0, 320, 0, tiles.TILE)
    whole = restorer.sharpen(tiles._cut(seen, (0, 320, 0, 904))[None], condition[None], prints)
    alone = restorer.sharpen(tiles._cut(seen, place)[None], condition[None], prints)
    inside = tiles._sharpened(restorer, seen, place, condition, prints)
    strip = (..., slice(tiles.TILE - 128, tiles.TILE - (tiles.OVERLAP - tiles.SLOPE) // 2))
    far, near = (255 * (made[strip] - whole[strip]).abs() for made in (alone, inside))
    assert near.mean() < 0.1, near.mean()
    assert near.max() < 4, near.max()
    assert far.mean() > 4 * near.mean(), (far.mean(), near.mean())
