"""What can be measured in a picture without knowing what happened to it: the ground of every reasoning step.

All values lie in [0, 1]; `measure` takes an (H, W, 3) uint8 picture of any size.
"""

from __future__ import annotations

import numpy as np
import torch

from components.annotation.windows import most_near
from components.diagnosis import EVIDENCE

# a local window as He et al. 2009 use it for the dark channel, at this pipeline's small pictures
DARK_WINDOW = 9
# noise sigma of 64/255 and blockiness of twice the neighbours' steps fill the scale
FULL_NOISE = 64 / 255
FULL_TEXTURE = 0.12


def measure(image: np.ndarray) -> dict[str, float]:
    """The seven measurements by name, in the order of EVIDENCE."""
    rgb = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
    grey = rgb.mean(0)
    values = {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std(unbiased=False)) * 3,
        "dark_channel": _dark_channel(rgb),
        "grain": _noise_sigma(grey) / FULL_NOISE,
        "texture": _sharpness(grey) / FULL_TEXTURE,
        "streakiness": _streakiness(grey),
        "blockiness": _blockiness(grey),
    }
    return {name: round(min(1.0, max(0.0, values[name])), 4) for name in EVIDENCE}


def _dark_channel(rgb: torch.Tensor) -> float:
    near = -most_near(-rgb.amin(0), DARK_WINDOW)
    border = DARK_WINDOW // 2
    if min(near.shape) > 2 * border:
        near = near[border:-border, border:-border]
    return float(near.median())


def _noise_sigma(grey: torch.Tensor) -> float:
    """Median absolute deviation of the diagonal detail (Donoho & Johnstone 1994)."""
    if min(grey.shape) < 4:
        return 0.0
    detail = (grey[:-1, :-1] - grey[1:, :-1] - grey[:-1, 1:] + grey[1:, 1:]) / 2
    return float(detail.abs().median()) / 0.6745


def _sharpness(grey: torch.Tensor) -> float:
    """90th percentile of the gradient: strong edges are what blur takes first."""
    if min(grey.shape) < 4:
        return 0.0
    gradient = (grey[1:, :-1] - grey[:-1, :-1]).abs() + (grey[:-1, 1:] - grey[:-1, :-1]).abs()
    return float(torch.quantile(gradient.flatten()[:1_000_000], 0.9))


def _streakiness(grey: torch.Tensor) -> float:
    """Coherence of the gradient directions (structure tensor): one for parallel streaks, zero for none."""
    if min(grey.shape) < 4:
        return 0.0
    dy, dx = grey[1:, :-1] - grey[:-1, :-1], grey[:-1, 1:] - grey[:-1, :-1]
    xx, yy, xy = float((dx * dx).mean()), float((dy * dy).mean()), float((dx * dy).mean())
    return float(np.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-8))


def _blockiness(grey: torch.Tensor) -> float:
    """Excess of the steps across the 8-pixel grid of JPEG over the steps beside it."""
    if min(grey.shape) < 24:
        return 0.0
    excess = []
    for picture in (grey, grey.T):
        step = (picture[:, 1:] - picture[:, :-1]).abs().mean(0)
        on_grid, beside = step[7::8].mean(), torch.cat([step[5::8], step[9::8]]).mean()
        excess.append(float((on_grid - beside) / (beside + 1e-4)))
    return max(0.0, sum(excess) / 2)
