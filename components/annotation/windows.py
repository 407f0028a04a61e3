"""Largest value and mean around every pixel: separable, and fast on a processor."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def most_near(field: Tensor, window: int) -> Tensor:
    """Largest value of (..., H, W) in the square of `window` px (odd) around each pixel; outside counts as nothing.

    By doubling: ten passes over the picture, where max_pool2d takes one comparison for each place of the window.
    """
    for axis in (-1, -2):
        half = window // 2
        field = F.pad(field, (half, half, 0, 0) if axis == -1 else (0, 0, half, half), value=float("-inf"))
        reach = 1
        while reach < window:
            step = min(reach, window - reach)
            length = field.shape[axis] - step
            field = torch.maximum(field.narrow(axis, 0, length), field.narrow(axis, step, length))
            reach += step
    return field


def mean_near(field: Tensor, window: int) -> Tensor:
    """Mean of (B, C, H, W) in the square of `window` px (odd) around each pixel, as far as it lies inside.

    One addition a place, in avg_pool2d's order and so with its bits; avg_pool2d itself is several times as slow.
    """
    half = window // 2
    for axis in (-2, -1):
        length = field.shape[axis]
        padded = F.pad(field, (0, 0, half, half) if axis == -2 else (half, half, 0, 0))
        total = padded.narrow(axis, 0, length).clone()
        for place in range(1, window):
            total += padded.narrow(axis, place, length)
        places = torch.arange(length, device=field.device)
        inside = (places + half).clamp(max=length - 1) - (places - half).clamp(min=0) + 1
        total /= inside.to(field.dtype)[:, None] if axis == -2 else inside.to(field.dtype)
        field = total
    return field


def mean_of_nine(field: Tensor) -> Tensor:
    """Mean of (B, C, H, W) in the 3 x 3 px around each pixel, the border repeated outwards; with avg_pool2d's bits."""
    height, width = field.shape[-2:]
    padded = F.pad(field, (1, 1, 1, 1), mode="replicate")
    total = torch.zeros_like(field)
    for down in range(3):
        for right in range(3):
            total += padded[..., down : down + height, right : right + width]
    return total.div_(9)
