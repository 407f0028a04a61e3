"""The spectrum tells blurred photos apart, whatever company they are measured in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.degradations.recipe import apply_recipe
from components.reasoner import spectrum


def tensor(photo: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255


def blurred(photo: np.ndarray, kind: str, extent: float, angle: float) -> np.ndarray:
    params = {"kind": kind, "extent_px": extent, "angle_deg": angle}
    return apply_recipe(photo, [{"type": "blur", "level": 0.5, "seed": 1, "params": params, "factors": params}])


def test_the_spectrum_tells_width_and_direction(photos):
    """Blurred photos lie nearer to each other than to the sharp ones, and a motion's direction shows."""
    for photo in photos:
        sharp, wide = (spectrum.fingerprint(tensor(seen)[0]) for seen in (photo, blurred(photo, "gaussian", 9.0, 0.0)))
        assert wide[spectrum.RADII // 2 : spectrum.RADII].mean() < sharp[spectrum.RADII // 2 : spectrum.RADII].mean()
    polar = torch.stack([spectrum.fingerprint(tensor(blurred(p, "motion", 13.0, 0.0))[0]) for p in photos]).mean(0)
    polar = polar[spectrum.RADII :].view(spectrum.SECTORS, spectrum.RINGS)[:, 2:10].mean(1)
    # a motion up and down leaves what varies to the right alone: sector 0
    assert polar.argmax() in (0, spectrum.SECTORS - 1)
    assert polar.argmin() in range(3, spectrum.SECTORS - 3)


@pytest.mark.parametrize("size", [(1, 1), (40, 200), (96, 131), (700, 500)])
def test_a_photo_of_any_size_has_a_fingerprint(size):
    found = spectrum.fingerprint(torch.rand(3, *size))
    assert found.shape == (spectrum.FINGERPRINT,)
    assert found.isfinite().all()


def test_each_window_reads_as_if_alone():
    windows = torch.rand((3, 3, 192, 192), generator=torch.Generator().manual_seed(0))
    together = spectrum.of_each(windows)
    for window, own in zip(windows, together, strict=True):
        assert torch.allclose(spectrum.of_windows(window[None]), own, atol=1e-5)
        assert torch.allclose(spectrum.fingerprint(window), own, atol=1e-5)
    assert not spectrum.of_each(windows[..., :80, :]).any()
