"""Point spread functions, and convolution with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

# rows are convolved in strips of about this many values, which stay in a processor's cache
STRIP_VALUES = 1 << 18
# a tap below this share of the largest one is not worth a pass over the picture
LEAST_TAP = 1e-3
# kernels of more taps than this are worth a look for symmetry
FEW_TAPS = 24


def convolve(images: torch.Tensor, kernels: Sequence[torch.Tensor]) -> torch.Tensor:
    """(B, C, H, W) filtered by one (kh, kw) kernel per sample, odd sides, borders reflected.

    On a processor tap by tap in a fixed order, which gives the same bits on every machine and beats an FFT for the
    sparse kernels of motion; on a GPU by grouped convolution, equal to within rounding.
    """
    if images.is_cuda:
        return torch.stack([_dense(image, kernel) for image, kernel in zip(images, kernels, strict=True)])
    return torch.stack([_taps(image, kernel) for image, kernel in zip(images, kernels, strict=True)])


def _padded(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    down, right = kernel.shape[0] // 2, kernel.shape[1] // 2
    # reflection needs borders smaller than the picture; tiny ones are padded by repetition instead
    mode = "reflect" if down < image.shape[-2] and right < image.shape[-1] else "replicate"
    return F.pad(image[None], (right, right, down, down), mode=mode)[0]


def _dense(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    channels = image.shape[0]
    weight = kernel.flip(0, 1).to(image)[None, None].expand(channels, 1, -1, -1)
    return F.conv2d(_padded(image, kernel)[None], weight, groups=channels)[0]


def _taps(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Sums of weighted shifts, strip by strip."""
    channels, height, width = image.shape
    rows, columns = kernel.shape
    padded = _padded(image, kernel)
    out = torch.empty_like(image)
    values = kernel.tolist()
    least = LEAST_TAP * float(kernel.max())
    # convolution, not correlation: the kernel is turned around
    taps = [
        (rows - 1 - y, columns - 1 - x, values[y][x])
        for y in range(rows)
        for x in range(columns)
        if values[y][x] >= least
    ]
    scale = math.fsum(map(math.fsum, values)) / math.fsum(weight for _, _, weight in taps)
    taps = [(y, x, weight * scale) for y, x, weight in taps]
    fourfold = len(taps) > FEW_TAPS and torch.equal(kernel, kernel.flip(0)) and torch.equal(kernel, kernel.flip(1))
    # the sums of a fourfold kernel need more room
    strip = max(1, STRIP_VALUES // (channels * width * (2 if fourfold else 1)))
    for top in range(0, height, strip):
        target = out[:, top : top + strip]
        source = padded[:, top : top + target.shape[1] + rows - 1]
        if fourfold:
            _sum_fourfold(target, source, taps, rows // 2, columns // 2)
        else:
            shifts = [(source[:, y : y + target.shape[1], x : x + width], weight) for y, x, weight in taps]
            _weighted_sum(target, shifts)
    return out


def _weighted_sum(target: torch.Tensor, terms: list[tuple[torch.Tensor, float]]) -> None:
    (first, weight), *others = terms
    torch.mul(first, weight, out=target)
    for term, weight in others:
        target.add_(term, alpha=weight)


def _sum_fourfold(
    target: torch.Tensor, source: torch.Tensor, taps: list[tuple[int, int, float]], down: int, right: int
) -> None:
    """As the taps one by one, for a kernel that is its own mirror image both ways: a quarter of the products."""
    height, width = target.shape[1:]
    # rows above and below the middle have the same weights: they are added first
    pairs = [source[:, down : down + height]]
    for k in range(1, down + 1):
        pairs.append(source[:, down - k : down - k + height] + source[:, down + k : down + k + height])
    quarter: dict[int, list[tuple[torch.Tensor, float]]] = {}
    for y, x, weight in taps:
        if y >= down and x >= right:
            quarter.setdefault(x - right, []).append((pairs[y - down], weight))
    column = torch.empty_like(pairs[-1])
    target.zero_()
    for k, terms in quarter.items():
        _weighted_sum(column, terms)
        target.add_(column[:, :, right + k : right + k + width])
        if k:
            target.add_(column[:, :, right - k : right - k + width])


def blur_gaussian(images: torch.Tensor, sigmas: Sequence[float]) -> torch.Tensor:
    """(B, C, H, W) under a Gaussian of its own sigma in px per sample, in two passes."""
    lines = [gaussian_line(sigma) for sigma in sigmas]
    return convolve(convolve(images, [line[:, None] for line in lines]), [line[None] for line in lines])


def gaussian_line(sigma_px: float) -> torch.Tensor:
    """(k,) Gaussian of sum 1, cut at three sigma."""
    radius = max(1, math.ceil(3 * sigma_px))
    line = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma_px**2))
    return _kernel(line)


def line_kernel(length_px: float, angle_deg: float, width_px: float = 1.0) -> torch.Tensor:
    """(k, k) kernel of sum 1: an anti-aliased straight stroke, angle from the vertical, clockwise."""
    radius = max(1, math.ceil(length_px / 2 + width_px))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
    angle = math.radians(angle_deg)
    along = x * math.sin(angle) - y * math.cos(angle)
    across = x * math.cos(angle) + y * math.sin(angle)
    inside_length = np.clip(length_px / 2 + 0.5 - np.abs(along), 0, 1)
    inside_width = np.clip(width_px / 2 + 0.5 - np.abs(across), 0, 1)
    return _kernel(inside_length * inside_width)


def disk_kernel(radius_px: float) -> torch.Tensor:
    """(k, k) kernel of sum 1: an anti-aliased disk, the point spread of a defocused lens."""
    radius = max(1, math.ceil(radius_px + 0.5))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
    return _kernel(np.clip(radius_px + 0.5 - np.hypot(x, y), 0, 1))


def shake_kernel(extent_px: float, generator: torch.Generator) -> torch.Tensor:
    """(k, k) kernel of sum 1: the path of a hand that drifts, jerks and is pulled back.

    After the trajectories of DeblurGAN (Kupyn et al. 2018): inertia, Gaussian jerks, a pull to the centre, and now
    and then a sudden turn. The path is scaled to `extent_px`, so that a longer one is the same path, larger.
    """
    steps = 240
    draws = torch.rand((steps + 1, 5), generator=generator, dtype=torch.float64).numpy()
    # three uniforms make a jerk that is normal enough
    velocity = draws[0, :2] - 0.5
    position = np.zeros(2)
    path = np.empty((steps, 2))
    for i in range(steps):
        jerk = 2 * (draws[i + 1, 0:2] + draws[i + 1, 2:4] - 1)
        velocity = 0.96 * velocity + 0.35 * jerk - 0.012 * position
        if draws[i + 1, 4] < 0.01:
            velocity = -velocity
        position = position + velocity
        path[i] = position
    path -= (path.max(0) + path.min(0)) / 2
    path *= (extent_px / 2) / max(1e-6, float(np.sqrt((path**2).sum(1)).max()))
    radius = max(1, math.ceil(extent_px / 2) + 1)
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    base = np.floor(path).astype(int)
    part = path - base
    # every point of the path is shared out over its four neighbours
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
            np.add.at(kernel, (base[:, 0] + dy + radius, base[:, 1] + dx + radius), weight)
    return _kernel(kernel)


def _kernel(weights: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((weights / weights.sum()).astype(np.float32))
