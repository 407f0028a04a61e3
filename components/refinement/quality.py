"""How far a picture is from clean photos, without any reference.

The idea is NIQE's (Mittal et al. 2013): clean photos have statistics of their own, and what lies far from their
Gaussian is no clean photo. The statistics here are the reasoner's measurements (components/reasoner/gauges.py) of
whole pictures: noise floor, steepness of edges, dark channel, codec's grid, lines of rain.
"""

from __future__ import annotations

import numpy as np
import torch

from components.reasoner import gauges, streaks
from components.restorer.data import as_batch

# share of the covariance's diagonal that is mixed in: a few hundred photos do not pin down a hundred dimensions
SHRINK = 0.2
# what is farther than this from the mean of clean photos, in their standard deviations, counts as this far
FARTHEST = 5.0
LEAST_SPREAD = 1e-3


@torch.no_grad()
def measurements(pictures: torch.Tensor) -> torch.Tensor:
    """(N, M) raw gauges of whole pictures (N, 3, H, W) in [0, 1]."""
    rows = []
    for start in range(0, len(pictures), gauges.PER_PASS):
        some = pictures[start : start + gauges.PER_PASS].contiguous()
        raw = gauges.measure(some, some, streaks.find(some))
        rows.append(torch.stack([value.expand(len(some)) for value in raw.values()], 1))
    return torch.cat(rows)


class CleanPhotos:
    """The Gaussian of clean photos' measurements."""

    def __init__(self, clean: list[np.ndarray]) -> None:
        """From equally large clean pictures (H, W, 3) uint8, some hundred of them."""
        rows = torch.cat([measurements(as_batch(clean[i : i + 32])) for i in range(0, len(clean), 32)])
        self.mean, self.spread = rows.mean(0), rows.std(0).clamp(min=LEAST_SPREAD)
        scaled = ((rows - self.mean) / self.spread).clamp(-FARTHEST, FARTHEST)
        covariance = scaled.T @ scaled / max(1, len(rows) - 1)
        diagonal = torch.eye(rows.shape[1])
        self.inverse = torch.linalg.inv((1 - SHRINK) * covariance + SHRINK * diagonal)

    def distance(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N,) Mahalanobis distances of pictures (N, 3, H, W) in [0, 1]; about 1 for a clean photo."""
        scaled = ((measurements(pictures) - self.mean) / self.spread).clamp(-FARTHEST, FARTHEST)
        return ((scaled @ self.inverse * scaled).sum(1).clamp(min=0) / scaled.shape[1]).sqrt()
