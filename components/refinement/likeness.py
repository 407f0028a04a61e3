"""Likeness of restored pictures to clean ones: PSNR, SSIM, GMSD and VIF, in torch, (N, 3, H, W) in [0, 1] each.

Written from the papers: the library that has them all (pyiqa) is for non-commercial use and only evaluation may ask
it. SSIM and VIF grow with likeness, GMSD falls.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BEST_DB = 60.0


def psnr_db(pictures: Tensor, clean: Tensor) -> Tensor:
    """(N,) peak signal-to-noise ratio in dB, at most BEST_DB."""
    error = (pictures - clean).square().flatten(1).mean(1)
    return -10 * error.clamp(min=10 ** (-BEST_DB / 10)).log10()


def _luma(pictures: Tensor) -> Tensor:
    """(N, 1, H, W) of ITU-R BT.601."""
    return (pictures * pictures.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def _smooth(field: Tensor, size: int, sigma: float) -> Tensor:
    """A Gaussian of `size` px, only where it fits."""
    steps = torch.arange(size, dtype=field.dtype, device=field.device) - (size - 1) / 2
    line = (-(steps**2) / (2 * sigma**2)).exp()
    line = line / line.sum()
    return F.conv2d(F.conv2d(field, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))


def _moments(a: Tensor, b: Tensor, size: int, sigma: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Local means of a and b, their variances and their covariance."""
    mean_a, mean_b = _smooth(a, size, sigma), _smooth(b, size, sigma)
    var_a = (_smooth(a * a, size, sigma) - mean_a**2).clamp(min=0)
    var_b = (_smooth(b * b, size, sigma) - mean_b**2).clamp(min=0)
    return mean_a, mean_b, var_a, var_b, _smooth(a * b, size, sigma) - mean_a * mean_b


def ssim(pictures: Tensor, clean: Tensor) -> Tensor:
    """(N,) structural similarity of the luma (Wang et al. 2004), Gaussian window of 11 px and sigma 1.5."""
    mean_a, mean_b, var_a, var_b, both = _moments(_luma(pictures), _luma(clean), 11, 1.5)
    c1, c2 = 0.01**2, 0.03**2
    field = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return field.mean((1, 2, 3))


def gmsd(pictures: Tensor, clean: Tensor) -> Tensor:
    """(N,) gradient magnitude similarity deviation (Xue et al. 2014): halved luma, Prewitt gradients, 0 if equal."""
    across = pictures.new_tensor([[1.0, 0, -1]] * 3).view(1, 1, 3, 3) / 3
    slopes = []
    for side in (pictures, clean):
        half = F.avg_pool2d(_luma(side), 2)
        slopes.append(torch.hypot(F.conv2d(half, across), F.conv2d(half, across.transpose(2, 3))))
    # 170 of 255^2 in the paper
    c = 170 / 255**2
    return ((2 * slopes[0] * slopes[1] + c) / (slopes[0] ** 2 + slopes[1] ** 2 + c)).flatten(1).std(1, correction=0)


def vif(pictures: Tensor, clean: Tensor) -> Tensor:
    """(N,) visual information fidelity in the pixel domain (Sheikh & Bovik 2006), four scales of the luma; 1 if equal.

    Both sides at least 64 px. Noise of the eye: variance 2 on the scale of 255.
    """
    eye, least = 2.0, 1e-10
    seen, there = (pictures.new_zeros(len(pictures)) for _ in range(2))
    a, b = _luma(clean) * 255, _luma(pictures) * 255
    for scale in range(4):
        size = 2 ** (4 - scale) + 1
        if scale:
            a, b = (_smooth(side, size, size / 5)[..., ::2, ::2] for side in (a, b))
        _, _, var_a, var_b, both = _moments(a, b, size, size / 5)
        gain = both / (var_a + least)
        left = var_b - gain * both
        flat, dark = var_a < least, var_b < least
        gain = torch.where(flat | dark, 0, gain)
        left = torch.where(flat, var_b, left)
        left = torch.where(dark, 0, left)
        # where the picture runs against the clean one nothing of it is seen
        left = torch.where(gain < 0, var_b, left).clamp(min=least)
        gain = gain.clamp(min=0)
        var_a = torch.where(flat, 0, var_a)
        seen = seen + (1 + gain**2 * var_a / (left + eye)).log10().sum((1, 2, 3))
        there = there + (1 + var_a / eye).log10().sum((1, 2, 3))
    return (seen + least) / (there + least)
