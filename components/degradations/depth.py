"""A plausible depth for a photo that came without one: what fog, rain and snow need to know.

A ground plane that runs to the horizon, sky beyond everything, and hills and houses as a smooth random field, all
bent to the edges of the picture by a guided filter (He et al. 2013), at a quarter of the size (He & Sun 2015).
Or, where the parameters say `form`, one of the FORMS that data sets put in its place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from components.degradations.light import column, luma, uniform

SHRINK = 4
# the guided filter's window is this share of the shorter side, and its tolerance of contrast
WINDOW, TOLERANCE = 1 / 12, 1e-2
# the same everywhere, growing from a point outwards, or in swathes as fog drifts
FORMS = ("even", "round", "patchy")


def sample(generator: torch.Generator) -> dict:
    """Where the horizon stands (share of the height), and the nearest depth relative to the farthest."""
    return {"horizon": uniform(generator, 0.1, 0.6), "floor": uniform(generator, 0.05, 0.5)}


def plausible(
    images: torch.Tensor, params: Sequence[dict], generators: Sequence[torch.Generator]
) -> torch.Tensor:  # fmt: skip
    """(B, 1, H, W) depth in [floor, 1] of sRGB pictures (B, 3, H, W); `params` from `sample`."""
    height, width = images.shape[-2:]
    small = F.avg_pool2d(images, SHRINK, ceil_mode=True) if min(height, width) > 4 * SHRINK else images
    rows, columns = small.shape[-2:]
    guide = luma(small)[:, None]
    row = torch.linspace(0, 1, rows, device=images.device)[:, None].expand(rows, columns)
    horizon, floor = column(params, "horizon", images), column(params, "floor", images)
    plane = ((1 - row) / (1 - horizon)).clamp(0, 1)
    field = torch.cat([_field(rows, columns, 4, g) for g in generators]).to(images.device)
    depth = 0.6 * plane + 0.4 * field
    depth = torch.maximum(depth, 1.05 * _sky(small, row, horizon))
    radius = max(2, round(WINDOW * min(rows, columns)))
    slope, offset = guided(guide, depth, radius, TOLERANCE)
    depth = slope * guide + offset
    least, most = depth.amin((2, 3), keepdim=True), depth.amax((2, 3), keepdim=True)
    # the nearest point becomes `floor`, the farthest 1
    stretch = (1 - floor) / (most - least).clamp(min=1e-6)
    slope, offset = slope * stretch, floor + (offset - least) * stretch
    if small is not images:
        lines = F.interpolate(torch.cat([slope, offset], 1), size=(height, width), mode="bilinear", align_corners=False)
        slope, offset = lines[:, :1], lines[:, 1:]
        guide = luma(images)[:, None]
    depth = slope * guide + offset
    depth = torch.minimum(torch.maximum(depth, floor), torch.ones_like(floor))
    for row_of, p, generator in zip(depth, params, generators, strict=True):
        if "form" in p:
            row_of[0] = p["floor"] + (1 - p["floor"]) * _shape(height, width, p, generator).to(images.device)
    return depth


def _shape(height: int, width: int, params: dict, generator: torch.Generator) -> torch.Tensor:
    """(H, W) in [0, 1]: one of FORMS; `centre` (y, x) in shares of the sides, `roughness` the fall of the octaves."""
    if params["form"] == "even":
        return torch.ones(height, width)
    if params["form"] == "round":
        y, x = (
            torch.linspace(0, 1, side) - middle for side, middle in zip((height, width), params["centre"], strict=True)
        )
        away = (y[:, None] ** 2 + x[None] ** 2).sqrt()
        return away / away.max().clamp(min=1e-6)
    field, strength = torch.zeros(height, width, device=generator.device), 1.0
    for cells in (1, 2, 4, 8, 16):
        field += strength * _field(height, width, cells, generator)[0, 0]
        strength /= params["roughness"]
    return (field - field.min()) / (field.max() - field.min()).clamp(min=1e-6)


def _field(height: int, width: int, cells: int, generator: torch.Generator) -> torch.Tensor:
    """(1, 1, H, W) smooth random field in [0, 1] with about `cells` bumps along each side."""
    coarse = torch.rand((1, 1, cells + 2, cells + 2), generator=generator, device=generator.device)
    return F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)


def _sky(image: torch.Tensor, row: torch.Tensor, horizon: torch.Tensor) -> torch.Tensor:
    """(B, 1, h, w) in [0, 1]: bright, not red, smooth, and not far below the horizon."""
    grey = luma(image)[:, None]
    mean, square = box(torch.cat([grey, grey * grey], 1), 2).split(1, 1)
    rough = (square - mean * mean).clamp(min=0)
    bright = ((grey - 0.35) * 4).clamp(0, 1)
    not_red = (1 - 6 * (image[:, :1] - image[:, 2:]).clamp(min=0)).clamp(0, 1)
    high = ((horizon + 0.2 - row) * 6).clamp(0, 1)
    return bright * not_red * high * (1 - 400 * rough).clamp(0, 1)


def box(field: torch.Tensor, radius: int) -> torch.Tensor:
    """Mean of the (2 radius + 1)^2 window around each value of (B, C, H, W), by running sums."""
    for axis in (-1, -2):
        length = field.shape[axis]
        sums = F.pad(field.double().cumsum(axis), (1, 0, 0, 0) if axis == -1 else (0, 0, 1, 0))
        place = torch.arange(length, device=field.device)
        last, first = (place + radius + 1).clamp(max=length), (place - radius).clamp(min=0)
        width = (last - first).double()
        width = width if axis == -1 else width[:, None]
        field = ((sums.index_select(axis, last) - sums.index_select(axis, first)) / width).float()
    return field


def guided(
    guide: torch.Tensor, target: torch.Tensor, radius: int, tolerance: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Slope and offset (B, 1, H, W) of the local lines that map `guide` to `target` (He et al. 2013)."""
    fields = torch.cat([guide, target, guide * target, guide * guide], 1)
    mean_g, mean_t, mean_gt, mean_gg = box(fields, radius).split(1, 1)
    slope = (mean_gt - mean_g * mean_t) / (mean_gg - mean_g**2 + tolerance)
    slope, offset = box(torch.cat([slope, mean_t - slope * mean_g], 1), radius).split(1, 1)
    return slope, offset
