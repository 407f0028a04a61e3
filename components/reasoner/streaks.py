"""Falling rain and snow as a picture of their own: where thin bright lines, thin dark lines and bright spots stand.

Rain crosses a photo with a few faint lines that a mean drowns in texture. A line here is brighter than the ground on
both its sides, a spot brighter than the ground all around, which the edge of a thing never is; texture has as many dark
lines as bright ones. A network of small patches sums what is left.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from components.reasoner import fields
from components.reasoner.fields import Field

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
    padded = fields.edged(fields.darkest(window.detach().cpu().numpy()), BORDER)
    height, width = window.shape[-2:]
    out = np.empty((len(window), 3, height, width), np.float32)
    for own, found in zip(padded, out, strict=True):
        flat, room = own.reshape(-1), own.shape[1]
        means = {size: _mean_near(flat, room, size) for size, _ in SPOTS}
        bright, dark = _lines(means[3] * np.float32(0.5) + flat * np.float32(0.5), room)
        for place, field in enumerate((bright, dark, _spots(means, room))):
            np.maximum(field.reshape(height, room)[:, BORDER:-BORDER], 0, out=found[place])
    return torch.from_numpy(out).to(window.device)


def picture(found: Tensor) -> Tensor:
    """(B, 3, H / 2, W / 2) in [0, 1]: what `find` found, as one looks at it."""
    seen = found.detach().cpu().numpy()
    height, width = (side // CELL * CELL for side in seen.shape[-2:])
    rows = np.maximum(seen[..., 0:height:CELL, :width], seen[..., 1:height:CELL, :width])
    cells = np.maximum(rows[..., 0::CELL], rows[..., 1::CELL])
    cells *= np.float32(GAIN)
    return torch.from_numpy(np.clip(cells, 0, 1, out=cells)).sqrt_().to(found.device)


# A field with its border is held as one row after another, `room` px each, so that (down, right) px away is a fixed
# distance, and each operation is one run over memory. What crosses from the end of a row to the next stays in the
# border. The results have the rows without the border.


def _beside(flat: Field, room: int, down: int, right: int, margin: int) -> Field:
    """The rows without `margin` above and below, as seen from (down, right) px away."""
    start = (margin + down) * room + right
    return flat[start : start + flat.size - 2 * margin * room]


def _mean_near(flat: Field, room: int, size: int) -> Field:
    """The mean of the `size` x `size` px around each pixel; the outermost ones have none."""
    half = size // 2
    for apart in (room, 1):
        length = flat.size - (size - 1) * apart
        total = np.zeros_like(flat)
        inner = total[half * apart : half * apart + length]
        np.add(flat[:length], flat[apart : apart + length], out=inner)
        for place in range(2, size):
            inner += flat[place * apart : place * apart + length]
        inner /= np.float32(size)
        flat = total
    return flat


def _lines(thin: Field, room: int) -> tuple[Field, Field]:
    """How much the line through each pixel stands out from both its sides, in the best direction; bright, dark."""
    bright = dark = ground = np.empty(0)
    for number, degrees in enumerate(ANGLES):
        down, right = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        steps = [(round(place * down), round(place * right)) for place in range(-REACH, REACH + 1)]
        own = [_beside(thin, room, *step, BORDER - REACH) for step in steps]
        line = own[0] + own[1]
        for other in own[2:]:
            line += other
        line /= np.float32(2 * REACH + 1)
        middle = _beside(line, room, 0, 0, REACH)
        one, other = (_beside(line, room, round(-s * APART * right), round(s * APART * down), REACH) for s in (-1, 1))
        if number == 0:
            bright, dark, ground = (
                middle - np.maximum(one, other),
                np.minimum(one, other) - middle,
                np.empty_like(middle),
            )
            continue
        np.subtract(middle, np.maximum(one, other, out=ground), out=ground)
        np.maximum(bright, ground, out=bright)
        np.subtract(np.minimum(one, other, out=ground), middle, out=ground)
        np.maximum(dark, ground, out=dark)
    return bright, dark


def _spots(means: dict[int, Field], room: int) -> Field:
    """How much the spot at each pixel stands out from the ground in all eight directions, at the best of its sizes."""
    best = None
    for size, apart in SPOTS:
        slant = round(apart * math.sqrt(0.5))
        steps = ((0, apart), (apart, 0), (slant, slant), (slant, -slant))
        around = [
            _beside(means[size], room, sign * down, sign * right, BORDER) for down, right in steps for sign in (-1, 1)
        ]
        ground = np.maximum(around[0], around[1])
        for other in around[2:]:
            np.maximum(ground, other, out=ground)
        np.subtract(_beside(means[size], room, 0, 0, BORDER), ground, out=ground)
        best = ground if best is None else np.maximum(best, ground, out=best)
    assert best is not None
    return best
