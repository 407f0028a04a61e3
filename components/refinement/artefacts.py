"""What learning for a reward leaves behind in pictures, measured against their clean sides: the less the better.

peaks   grids and rings: how much the strongest peaks of the spectrum stand out from what surrounds them (nats).
edges   smearing and over-sharpening: the logarithm of the ratio of edge energies.
colour  casts: distance of the mean colours, brightness aside.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

NEAR = 7  # bins of the spectrum around a peak
STRONGEST = 0.002  # share of the bins that counts as peaks
LEAST = 1e-5


def artefacts(pictures: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """Each measure (N,) of pictures and clean sides (N, 3, H, W) in [0, 1]."""
    return {
        "peaks": (peaks(pictures) - peaks(clean)).abs(),
        "edges": (edge_energy(pictures) / edge_energy(clean)).log().abs(),
        "colour": (cast(pictures) - cast(clean)).norm(dim=1),
    }


def peaks(pictures: Tensor) -> Tensor:
    """(N,) mean height of the strongest peaks of the luma's power spectrum over their surroundings, in nats."""
    grey = pictures.mean(1)
    height, width = grey.shape[-2:]
    window = torch.hann_window(height, device=grey.device)[:, None] * torch.hann_window(width, device=grey.device)
    field = (grey - grey.mean((1, 2), keepdim=True)) * window
    power = (torch.fft.rfft2(field).abs().square() + LEAST).log()[:, None]
    around = F.avg_pool2d(F.pad(power, (NEAR // 2,) * 4, mode="replicate"), NEAR, stride=1)
    heights = (power - around).flatten(1)
    return heights.topk(max(1, int(STRONGEST * heights.shape[1]))).values.mean(1)


def edge_energy(pictures: Tensor) -> Tensor:
    """(N,) mean absolute difference of neighbours."""
    grey = pictures.mean(1)
    return grey.diff(dim=-1).abs().mean((1, 2)) + grey.diff(dim=-2).abs().mean((1, 2)) + LEAST


def cast(pictures: Tensor) -> Tensor:
    """(N, 3) mean colour less its brightness."""
    mean = pictures.mean((2, 3))
    return mean - mean.mean(1, keepdim=True)
