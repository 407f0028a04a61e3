"""Drops and flakes drawn one by one, at positions between the pixels, into fields of opacity.

Everything is summed in integers (fixed point), so that the order of adding, the number of threads and the processor
do not matter. More particles of the same generator are the same ones and some more.
"""

from __future__ import annotations

import math

import torch

# fixed point: this many units make an opacity of 1
ONE = 1 << 16
# particles are drawn in groups of this many values, which bounds the memory
GROUP_VALUES = 1 << 20


def split(generator: torch.Generator, count: int) -> list[torch.Generator]:
    """Generators of their own for `count` layers: what one layer draws leaves the others as they were."""
    seeds = torch.randint(2**31, (count,), generator=generator, device=generator.device).tolist()
    return [torch.Generator(generator.device).manual_seed(seed) for seed in seeds]


def scatter(count: int, height: int, width: int, border: float, generator: torch.Generator) -> torch.Tensor:
    """(count, 6): y and x over the picture and a border around it in px, then four draws from U(0, 1)."""
    draws = torch.rand((count, 6), generator=generator, device=generator.device)
    draws[:, 0] = draws[:, 0] * (height + 2 * border) - border
    draws[:, 1] = draws[:, 1] * (width + 2 * border) - border
    return draws


def expected(density: float, area_px: float, height: int, width: int, border: float) -> int:
    """How many particles of `area_px` cover the share `density` of the picture and its border, at least one."""
    return max(1, round(density * (height + 2 * border) * (width + 2 * border) / area_px))


def draw_strokes(
    field: torch.Tensor, start: torch.Tensor, angle: torch.Tensor, length: torch.Tensor,
    width: float, opacity: torch.Tensor,
) -> None:  # fmt: skip
    """Add straight strokes to an (H, W) int32 field.

    `start` (N, 2) is the middle (y, x) in px, `angle` (N,) in radians from the vertical, `length` (N,) in px,
    `opacity` (N,) in [0, 1]; strokes fade towards their ends, as a drop does that enters and leaves the exposure.
    """
    # samples along the stroke at most a pixel apart, in enough parallel lines to make the width
    along = max(2, math.ceil(float(length.max())) + 1)
    lines = max(1, math.ceil(width))
    places = (torch.arange(along, dtype=torch.float32, device=field.device) + 0.5) / along - 0.5
    fade = (6 * (0.5 - places.abs())).clamp(max=1)
    side = ((torch.arange(lines, dtype=torch.float32, device=field.device) + 0.5) / lines - 0.5) * (width - width / lines)
    # in double precision: a last bit that differs between processors then drowns in the fixed point
    sine, cosine = (f(angle.double()).float()[:, None, None] for f in (torch.sin, torch.cos))
    run = length[:, None, None] * places[None, :, None]
    shift = side[None, None, :]
    y = start[:, 0, None, None] - run * cosine + shift * sine
    x = start[:, 1, None, None] + run * sine + shift * cosine
    # light per sample: a stroke of full opacity and width w carries w * length
    each = (length / along * min(width, lines) / lines)[:, None, None] * fade[None, :, None] * opacity[:, None, None]
    _splat(field, y.flatten(), x.flatten(), each.expand_as(y).flatten())


def _splat(field: torch.Tensor, y: torch.Tensor, x: torch.Tensor, amount: torch.Tensor) -> None:
    """Share each amount out over the four pixels around its place."""
    height, width = field.shape
    top, left = y.floor(), x.floor()
    down, right = y - top, x - left
    top, left = top.int(), left.int()
    for dy in (0, 1):
        for dx in (0, 1):
            row, column = top + dy, left + dx
            share = (down if dy else 1 - down) * (right if dx else 1 - right)
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            value = torch.where(inside, amount * share * ONE, 0.0).int()
            place = torch.where(inside, row * width + column, 0)
            field.view(-1).index_add_(0, place, value)


def draw_flakes(
    field: torch.Tensor, centre: torch.Tensor, radius: torch.Tensor, soft: float, motion: float, angle: float,
    opacity: torch.Tensor,
) -> None:  # fmt: skip
    """Add soft disks, drawn out by motion, to an (H, W) int32 field.

    `centre` (N, 2) in px, `radius` (N,) in px, `soft` px over which the rim fades (defocus), `motion` px of travel
    during the exposure at `angle` radians from the vertical, `opacity` (N,) in the middle.
    """
    height, width = field.shape
    reach = math.ceil(float(radius.max()) + soft / 2 + motion / 2) + 1
    axis = torch.arange(-reach, reach + 1, device=field.device)
    dy, dx = (grid.flatten() for grid in torch.meshgrid(axis, axis, indexing="ij"))
    step_y, step_x = -math.cos(angle), math.sin(angle)
    group = max(1, GROUP_VALUES // len(dy))
    for first in range(0, len(centre), group):
        middle, size = centre[first : first + group], radius[first : first + group]
        row, column = middle[:, :1].floor().int() + dy, middle[:, 1:].floor().int() + dx
        y, x = row - middle[:, :1], column - middle[:, 1:]
        # distance to the path of the centre
        along = (y * step_y + x * step_x).clamp(-motion / 2, motion / 2)
        distance = torch.sqrt((y - along * step_y) ** 2 + (x - along * step_x) ** 2)
        cover = ((size[:, None] + soft / 2 - distance) / soft).clamp(0, 1)
        # a flake in motion spends its opacity over its path
        spent = size * 2 / (size * 2 + motion)
        value = (cover * (opacity[first : first + group] * spent)[:, None] * ONE).int()
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        value = torch.where(inside, value, 0)
        place = torch.where(inside, row * width + column, 0)
        field.view(-1).index_add_(0, place.flatten(), value.flatten())


def opacity_of(field: torch.Tensor) -> torch.Tensor:
    """(H, W) float in [0, 1] of an int32 field."""
    return (field.clamp(max=ONE).float() / ONE).clamp(0, 1)
