"""Falling rain and snow as a picture of their own: where thin bright lines, thin dark lines and bright spots stand.

Rain crosses a photo with a few faint lines that a mean drowns in texture. A line here is brighter than the ground on
both its sides, a spot brighter than the ground all around, which the edge of a thing never is; texture has as many dark
lines as bright ones. A network of small patches sums what is left.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from components.annotation.windows import mean_near

# degrees from the vertical: what falls does not fall sideways
ANGLES = (-52.5, -37.5, -22.5, -7.5, 7.5, 22.5, 37.5, 52.5)
REACH, APART = 6, 3  # px: half a line's length, and how far beside it the ground is compared
SPOTS = ((3, 4), (5, 7), (9, 12))  # px: width of a spot, and how far around it the ground is compared
BORDER = 16
CELL = 2  # px: the picture keeps the strongest response of each cell
GAIN = 4.0


def find(window: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] of windows (B, 3, H, W): how far bright lines, dark lines and bright spots stand out.

    Taken of the darkest channel: drops and flakes are bright in all colours.
    """
    darkest = F.pad(window.amin(1, keepdim=True), [BORDER] * 4, mode="replicate")
    bright, dark = _lines(darkest)
    return torch.cat([bright, dark, _spots(darkest)], 1).clamp(min=0)


def picture(found: Tensor) -> Tensor:
    """(B, 3, H / 2, W / 2) in [0, 1]: what `find` found, as one looks at it."""
    return (GAIN * F.max_pool2d(found, CELL)).clamp(0, 1).sqrt()


def _lines(padded: Tensor) -> tuple[Tensor, Tensor]:
    """How much the line through each pixel stands out from both its sides, in the best direction; bright, dark."""
    thin = mean_near(padded, 3) * 0.5 + padded * 0.5
    bright, dark = [], []
    for degrees in ANGLES:
        down, right = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        line = torch.zeros_like(_shifted(thin, 0, 0, BORDER - REACH))
        for place in range(-REACH, REACH + 1):
            line += _shifted(thin, round(place * down), round(place * right), BORDER - REACH)
        line /= 2 * REACH + 1
        margin = REACH  # of `line`, around what is asked for
        middle = line[..., margin:-margin, margin:-margin]
        sides = [_shifted(line, round(-sign * APART * right), round(sign * APART * down), margin) for sign in (-1, 1)]
        bright.append(middle - torch.maximum(*sides))
        dark.append(torch.minimum(*sides) - middle)
    return _largest(bright), _largest(dark)


def _spots(padded: Tensor) -> Tensor:
    """How much the spot at each pixel stands out from the ground in all eight directions, at the best of its sizes."""
    found = []
    for width, apart in SPOTS:
        mean = mean_near(padded, width)
        slant = round(apart * math.sqrt(0.5))
        steps = ((0, apart), (apart, 0), (slant, slant), (slant, -slant))
        around = [_shifted(mean, sign * down, sign * right, BORDER) for down, right in steps for sign in (-1, 1)]
        found.append(_shifted(mean, 0, 0, BORDER) - _largest(around))
    return _largest(found)


def _shifted(field: Tensor, down: int, right: int, margin: int) -> Tensor:
    """The field without `margin` px on each side, as seen from (down, right) px away."""
    height, width = field.shape[-2:]
    return field[..., margin + down : height - margin + down, margin + right : width - margin + right]


def _largest(fields: list[Tensor]) -> Tensor:
    out = fields[0]
    for field in fields[1:]:
        out = torch.maximum(out, field)
    return out
