"""The power spectrum of a photo: where a blur took the detail, and in which direction.

A convolution multiplies the spectrum of a photo by that of its kernel: a defocused lens leaves rings of zeros, a
straight motion stripes of them, a Gaussian a steep fall. The reasoner reads it as gauges, the restorer guesses the
kernel from it (`components/restorer/deblur.py`).
"""

from __future__ import annotations

import math
from functools import cache

import torch

WINDOW, WINDOWS = 192, 9  # px, and how many windows of a photo are measured
LEAST_SIDE = 96  # px: fewer have no frequency for every radius
RADII, RINGS, SECTORS = 48, 24, 12
FINGERPRINT = RADII + RINGS * SECTORS
# power of rounding to 8 bits: below it nothing is told
FLOOR = (1 / 255) ** 2 / 12


def fingerprint(photo: torch.Tensor) -> torch.Tensor:
    """(FINGERPRINT,) of a photo (3, H, W) in [0, 1]; see `of_windows`."""
    side, corners = places(*photo.shape[-2:])
    windows = [photo[:, top : top + side, left : left + side] for top, left in corners]
    return of_windows(torch.stack(windows)) if windows else torch.zeros(FINGERPRINT, device=photo.device)


def places(height: int, width: int) -> tuple[int, list[tuple[int, int]]]:
    """The side in px and the (top, left) of the up to WINDOWS windows of a photo that are measured.

    A photo of less than LEAST_SIDE has none.
    """
    side = min(WINDOW, height, width) // 16 * 16
    if side < LEAST_SIDE:
        return side, []
    return side, [(top, left) for top in _spread(height, side) for left in _spread(width, side)]


def of_windows(windows: torch.Tensor) -> torch.Tensor:
    """(FINGERPRINT,) of windows (N, 3, s, s) in [0, 1] of one photo, at native resolution.

    Their mean power by radius, and by radius and direction: natural logarithms, directions less their mean, scaled
    to about one.
    """
    return _describe(_power(windows).mean(0, keepdim=True), windows.shape[-1])[0]


def of_each(windows: torch.Tensor) -> torch.Tensor:
    """(N, FINGERPRINT) as `of_windows`, of each of (N, 3, H, W) by itself: its largest square; 0 below LEAST_SIDE."""
    side = min(windows.shape[-2:]) // 16 * 16
    if side < LEAST_SIDE:
        return torch.zeros(len(windows), FINGERPRINT, device=windows.device)
    return _describe(_power(windows[..., :side, :side]), side)


def _power(windows: torch.Tensor) -> torch.Tensor:
    """(N, s * (s // 2 + 1)): power by frequency of windows (N, 3, s, s), tapered, in grey."""
    grey = windows.mean(1)
    faded, energy = (part.to(grey.device) for part in taper(grey.shape[-1]))
    field = (grey - grey.mean((1, 2), keepdim=True)) * faded
    return (torch.fft.rfft2(field).abs().square() / energy).flatten(1)


def _describe(power: torch.Tensor, side: int) -> torch.Tensor:
    """(N, FINGERPRINT) of powers (N, side * (side // 2 + 1))."""
    power = (power + FLOOR).log()
    fine, rings, cells = (_means(power, *bins) for bins in _bins(side))
    profile, coarse, polar = fine, rings, cells.unflatten(1, (SECTORS, RINGS))
    polar = torch.where(polar.isnan(), 0, polar - coarse[:, None])
    profile = torch.where(profile.isnan(), coarse.repeat_interleave(RADII // RINGS, 1), profile)
    return torch.cat([(profile + 9) / 5, polar.flatten(1) / 2], 1)


def _means(values: torch.Tensor, bins: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """(N, count) means of values (N, n) by bin (n,) of known sizes (count,); those of bin `count` are left out, an
    empty bin gives NaN."""
    count = len(sizes)
    total = values.new_zeros(len(values), count + 1).index_add_(1, bins.to(values.device), values)[:, :count]
    return total / sizes.to(values.device)


def _spread(length: int, side: int) -> list[int]:
    """Where windows begin: in the middle, or spread over what is longer than two of them."""
    room, most = length - side, math.isqrt(WINDOWS)
    if length < 2 * side:
        return [room // 2]
    return [round(room * (i + 0.5) / most) for i in range(most)]


@cache
def taper(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The window (side, side) that a picture is multiplied with, and its energy."""
    line = torch.hann_window(side)
    faded = line[:, None] * line
    return faded, faded.square().sum()


@cache
def _bins(side: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Bins (side * (side // 2 + 1),) of the frequencies of a half spectrum, by radius fine and coarse, and by sector
    and radius, each with the sizes of its bins; what lies outside of the largest circle has the number of bins."""
    down, right = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None].expand(side, -1)
    radius = (down.square() + right.square()).sqrt().flatten()
    angle = torch.atan2(down.expand_as(right), right).flatten() % math.pi
    outside = (radius == 0) | (radius >= 0.5)
    fine, rings = ((2 * count * radius).long() for count in (RADII, RINGS))
    cells = (SECTORS * angle / math.pi).long().clamp(max=SECTORS - 1) * RINGS + rings
    pairs = ((fine, RADII), (rings, RINGS), (cells, SECTORS * RINGS))
    all_bins = [(torch.where(outside, count, bins), count) for bins, count in pairs]
    return [(bins, torch.bincount(bins, minlength=count + 1)[:count]) for bins, count in all_bins]
