"""The kernel of a blurred photo is found to a few per cent, and of a sharp one none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from components.degradations.recipe import apply_recipe
from components.reasoner import pointspread

BLURS = [("gaussian", 8.0, 0.0), ("defocus", 6.0, 0.0), ("motion", 12.0, 35.0), ("motion", 9.0, -90.0)]


def tensor(photo: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255


def blurred(photo: np.ndarray, kind: str, extent: float, angle: float) -> torch.Tensor:
    params = {"kind": kind, "extent_px": extent, "angle_deg": angle}
    return tensor(apply_recipe(photo, [{"type": "blur", "level": 0.5, "seed": 1, "params": params, "factors": params}]))


@pytest.mark.parametrize(("kind", "extent", "angle"), BLURS)
def test_kind_extent_and_angle_are_found(photos, kind, extent, angle):
    found = pointspread.fit(torch.cat([blurred(photo, kind, extent, angle) for photo in photos]))
    own = pointspread.KINDS.index(kind)
    assert (found.gains.argmax(1) == own).float().mean() >= 0.75, found.gains
    assert (found.extents[:, own] / extent).log().abs().median() < 0.08, found.extents
    if kind == "motion":
        apart = (found.angles - angle + 90) % 180 - 90
        assert apart.abs().median() < 4, found.angles


def test_a_sharp_photo_gains_nothing_by_a_kernel(photos):
    sharp = pointspread.fit(torch.cat([tensor(photo) for photo in photos]))
    wide = pointspread.fit(torch.cat([blurred(photo, "defocus", 6.0, 0.0) for photo in photos]))
    assert sharp.gains.amax(1).median() < 0.3 * wide.gains.amax(1).median()


def test_damage_is_about_what_a_known_kernel_did(photos):
    """The judged error ranks extents rightly, and is that of the kernel within a factor of eight."""
    for photo in photos:
        judged, true = [], []
        for extent in (4.0, 6.0, 9.0):
            seen = blurred(photo, "defocus", extent, 0.0)
            judged.append(float(pointspread.fit(seen).damage))
            true.append(float((seen - tensor(photo)).square().mean().log10()))
        assert judged == sorted(judged)
        assert np.abs(np.array(judged) - true).max() < math.log10(8), (judged, true)


def test_windows_of_one_photo_are_fitted_together(photos):
    seen = blurred(photos[0], "motion", 12.0, 35.0)
    halves = torch.cat([seen[..., :96], seen[..., 96:192]], 0)[..., :96, :]
    found = pointspread.fit(halves, together=True)
    assert found.extents.shape == (1, len(pointspread.KINDS))
    assert found.columns().shape == (1, len(pointspread.COLUMNS))
    alone = pointspread.fit(halves)
    assert len(alone.extents) == 2


@pytest.mark.parametrize("size", [(1, 1), (40, 200), (96, 131), (192, 192)])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_flat_pictures_have_finite_columns(size, level):
    assert pointspread.of_each(torch.full((2, 3, *size), level)).isfinite().all()
