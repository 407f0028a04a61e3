"""Haze and fog: scattered light, I = J t + A (1 - t), t = exp(-beta d) (Koschmieder; Narasimhan & Nayar 2002).

Ranges follow RESIDE and OneRestore's CDD-11 (beta 0.6..2.5 on normalised depth, A 0.6..1); half of the
recipes mix in linear light, as physics says, half in sRGB, as the literature's data sets do.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from components.degradations.light import choice, luma, smooth_field, to_linear, to_srgb, uniform


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]: the optical depth of the farthest point grows with it."""
    return {
        "beta": round(0.06 + 2.44 * level**1.5, 6),
        "airlight": [uniform(generator, 0.62, 0.98)] * 3
        if uniform(generator, 0, 1) < 0.5
        else _tinted(uniform(generator, 0.65, 0.95), generator),
        "horizon": uniform(generator, 0.1, 0.6),
        "floor": uniform(generator, 0.1, 0.6),
        "space": choice(generator, ("linear", "srgb")),
    }


def _tinted(grey: float, generator: torch.Generator) -> list[float]:
    return [round(min(1.0, grey + uniform(generator, -0.03, 0.03)), 6) for _ in range(3)]


def depth_map(image: torch.Tensor, horizon: float, floor: float, generator: torch.Generator) -> torch.Tensor:
    """(H, W) plausible depth in [floor, 1]: a ground plane up to the horizon, far above it, uneven, edge-aware.

    No depth sensor stands behind a photo from the web: the plane gives the trend, a smooth random field the
    hills and houses, and a guided filter (He et al. 2013) lets depth change where the picture changes.
    """
    height, width = image.shape[-2:]
    row = torch.linspace(0, 1, height)[:, None].expand(height, width)
    plane = ((1 - row) / (1 - horizon)).clamp(0, 1)
    depth = 0.65 * plane + 0.35 * smooth_field(height, width, 4, generator)
    guide = luma(image)
    radius = max(2, min(height, width) // 12)
    depth = _guided_filter(guide, depth, radius, 1e-2)
    depth = (depth - depth.min()) / (depth.max() - depth.min()).clamp(min=1e-6)
    return floor + (1 - floor) * depth


def _box(field: torch.Tensor, radius: int) -> torch.Tensor:
    """Mean of the window around each pixel; rows, then columns, which costs far less than the square at once."""
    size, image = 2 * radius + 1, field[None, None]
    for window, border in (((size, 1), (radius, 0)), ((1, size), (0, radius))):
        image = F.avg_pool2d(image, window, stride=1, padding=border, count_include_pad=False)
    return image[0, 0]


def _guided_filter(guide: torch.Tensor, target: torch.Tensor, radius: int, epsilon: float) -> torch.Tensor:
    mean_g, mean_t = _box(guide, radius), _box(target, radius)
    slope = (_box(guide * target, radius) - mean_g * mean_t) / (_box(guide * guide, radius) - mean_g**2 + epsilon)
    offset = mean_t - slope * mean_g
    return _box(slope, radius) * guide + _box(offset, radius)


def transmission(image: torch.Tensor, params: dict, generator: torch.Generator) -> torch.Tensor:
    """(H, W) share of the scene's light that arrives."""
    depth = depth_map(image, params["horizon"], params["floor"], generator)
    return torch.exp(-params["beta"] * depth).clamp(min=0.05)


def apply(image: torch.Tensor, params: dict, generator: torch.Generator) -> torch.Tensor:
    """(3, H, W) in [0, 1] seen through haze."""
    t = transmission(image, params, generator)
    air = torch.tensor(params["airlight"])[:, None, None]
    if params["space"] == "linear":
        return to_srgb(to_linear(image) * t + to_linear(air) * (1 - t))
    return image * t + air * (1 - t)


def factors(params: dict) -> dict[str, float]:
    """Transmission of the middle of the depth range, grey of the air."""
    middle = (1 + params["floor"]) / 2
    t = max(0.05, float(torch.exp(torch.tensor(-params["beta"] * middle))))
    return {"transmission": t, "airlight": sum(params["airlight"]) / 3}
