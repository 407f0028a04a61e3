"""Arithmetic on fields (B, H, W) of a processor, in numpy: a field of a window is small, and numpy's calls are cheap.

Extremes and means around pixels, in as few passes as possible and with the bits that torch's pooling gives.
"""

from __future__ import annotations

import numpy as np
import torch

Field = np.ndarray


def grey(rgb: Field) -> Field:
    """(B, H, W), the mean of the channels of (B, 3, H, W)."""
    out = np.add(rgb[:, 0], rgb[:, 1])
    out += rgb[:, 2]
    out /= np.float32(3)
    return out


def darkest(rgb: Field) -> Field:
    """(B, H, W), the least of the channels of (B, 3, H, W)."""
    out = np.minimum(rgb[:, 0], rgb[:, 1])
    return np.minimum(out, rgb[:, 2], out=out)


def lightest(rgb: Field) -> Field:
    """(B, H, W), the greatest of the channels of (B, 3, H, W)."""
    out = np.maximum(rgb[:, 0], rgb[:, 1])
    return np.maximum(out, rgb[:, 2], out=out)


def most_near(field: Field, window: int, step: int = 1) -> Field:
    """Largest value in the square of `window` px (odd) around every `step`th pixel of (B, H, W), across and down;
    outside counts as nothing."""
    return _near(field, window, step, np.maximum, -np.inf)


def least_near(field: Field, window: int, step: int = 1) -> Field:
    """Least value, as `most_near`."""
    return _near(field, window, step, np.minimum, np.inf)


def _near(field: Field, window: int, step: int, extreme: np.ufunc, outside: float) -> Field:
    batch, height, width = field.shape
    half = window // 2
    rows, room = -(-height // step), width + 2 * half
    padded = np.full((batch, height + 2 * half, room), outside, np.float32)
    padded[:, half : half + height, half : half + width] = field
    if step > 1:
        # only the rows that are asked for
        kept = padded[:, : (rows - 1) * step + 1 : step].copy()
        for place in range(1, window):
            extreme(kept, padded[:, place : place + (rows - 1) * step + 1 : step], out=kept)
        flat, spare = kept.reshape(-1), np.empty(kept.size, np.float32)
    else:
        flat, spare = _doubled(padded.reshape(-1), np.empty(padded.size, np.float32), window, room, extreme)
        rows = height + 2 * half
    # rows follow one another: what crosses from one to the next falls into the margin
    flat, _ = _doubled(flat, spare, window, 1, extreme)
    return flat.reshape(batch, rows, room)[:, : -(-height // step), :width:step]


def _doubled(flat: Field, spare: Field, window: int, apart: int, extreme: np.ufunc) -> tuple[Field, Field]:
    """The extreme of `window` values `apart`, each with those after it, by doubling; and a field to write on."""
    reach = 1
    while reach < window:
        more = min(reach, window - reach)
        length = flat.size - more * apart
        extreme(flat[:length], flat[more * apart :], out=spare[:length])
        spare[length:] = flat[length:]
        flat, spare = spare, flat
        reach += more
    return flat, spare


def halved(rgb: Field) -> Field:
    """(B, C, H / 2, W / 2), the mean of each 2 x 2 pixels."""
    height, width = (side // 2 * 2 for side in rgb.shape[-2:])
    upper, lower = rgb[..., 0:height:2, :width], rgb[..., 1:height:2, :width]
    out = upper[..., 0::2] + upper[..., 1::2]
    out += lower[..., 0::2]
    out += lower[..., 1::2]
    out *= np.float32(0.25)
    return out


def edged(field: Field, margin: int) -> Field:
    """(B, H + 2 margin, W + 2 margin), the border pixels repeated outwards."""
    batch, height, width = field.shape
    out = np.empty((batch, height + 2 * margin, width + 2 * margin), np.float32)
    inner = out[:, margin : margin + height]
    inner[..., margin : margin + width] = field
    inner[..., :margin], inner[..., margin + width :] = field[..., :1], field[..., -1:]
    out[:, :margin], out[:, margin + height :] = inner[:, :1], inner[:, -1:]
    return out


def mean_of_nine(field: Field) -> Field:
    """(B, H, W), the mean of the 3 x 3 pixels around each, the border repeated outwards."""
    batch, height, width = field.shape
    flat, room = edged(field, 1).reshape(-1), width + 2
    length = flat.size - 2 * room - 2
    places = [row * room + column for row in range(3) for column in range(3)]
    out = np.empty_like(flat)
    total = np.add(flat[:length], flat[1 : 1 + length], out=out[:length])
    for place in places[2:]:
        total += flat[place : place + length]
    total /= np.float32(9)
    return out.reshape(batch, height + 2, room)[:, :height, :width]


def mean(field: Field) -> Field:
    """(B,) of (B, H, W), summed as torch sums."""
    return torch.from_numpy(field).mean((1, 2)).numpy()


def quantiles(sample: Field, places: list[int]) -> list[Field]:
    """One (B,) a place: the values that stand at `places` when each row of (B, n) is in order."""
    if len(places) > 3:
        ordered = np.sort(sample, axis=-1)
        return [ordered[:, place] for place in places]
    # numpy selects one place at a time faster than several
    own, found = sample.copy(), []
    for place in places:
        own.partition(place, axis=-1)
        found.append(own[:, place].copy())
    return found
