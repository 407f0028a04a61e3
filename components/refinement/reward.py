"""The reward of a restored picture: named terms, each weighted in params.yaml and logged, whose sum is what counts.

severity  how much less damage the frozen reasoner sees, summed over the types, in hundreds. What it reads is an
          expected severity: the probability that a type is there times how severe it would be. So the reward is
          weighted by the reasoner's confidence: what it is half sure of counts half.
rise      what rose instead, once more `weight_rise - 1` times: at 2 a severity that rises costs double.
fidelity  PSNR towards the clean side, in units of 10 dB; 0 for photos without one.
quality   how far the picture's measurements are from those of clean photos (quality.py), negative.
judge     +1 for a picture that the judge prefers to another of its group, -1 for that one (judge.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from components.diagnosis import TYPES
from components.refinement.config import RefineParams

# an error of less than this (60 dB) is as good as none
LEAST_ERROR = 1e-6


@dataclass(frozen=True)
class Tried:
    """N restored pictures and what was measured of them.

    `before`, `after` (N, 7): expected severities 0..100 by the frozen reasoner, of the degraded and of the restored
    pictures. `restored`, `clean` (N, 3, H, W) in [0, 1]; `known` (N,) says which have a clean side. `distance` (N,)
    from clean photos; `preferred` (N,) -1, 0 or 1 by the judge.
    """

    before: torch.Tensor
    after: torch.Tensor
    restored: torch.Tensor
    clean: torch.Tensor
    known: torch.Tensor
    distance: torch.Tensor
    preferred: torch.Tensor


def reward_terms(tried: Tried, config: RefineParams) -> dict[str, torch.Tensor]:
    """Each term (N,), already weighted; their sum is the reward."""
    change = (tried.before - tried.after) / 100
    error = (tried.restored.clamp(0, 1) - tried.clean).square().flatten(1).mean(1).clamp(min=LEAST_ERROR)
    return {
        "severity": config.weight_severity * change.sum(1),
        "rise": -max(0.0, config.weight_rise - 1) * config.weight_severity * (-change).clamp(min=0).sum(1),
        "fidelity": config.weight_fidelity * torch.where(tried.known, -error.log10(), torch.zeros_like(error)),
        "quality": -config.weight_quality * tried.distance,
        "judge": config.weight_judge * tried.preferred,
    }


def drops_by_type(tried: Tried) -> dict[str, float]:
    """Mean drop of each type's expected severity over the pictures that had some of it, for the log."""
    drops = {}
    for index, kind in enumerate(TYPES):
        here = tried.before[:, index] >= 1
        if here.any():
            drops[f"drop_{kind}"] = float((tried.before - tried.after)[here, index].mean())
    return drops
