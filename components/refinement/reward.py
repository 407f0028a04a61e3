"""The reward: how much less damage the frozen reasoner sees in the restored photo, kept honest by fidelity."""

from __future__ import annotations

import torch

from components.refinement.config import RefineParams


def reward_terms(
    before: torch.Tensor, after: torch.Tensor, restored: torch.Tensor, clean: torch.Tensor, config: RefineParams
) -> dict[str, torch.Tensor]:
    """Each term (N,), already weighted; their sum is the reward.

    `before`, `after` (N, 7): expected severities 0..100 by the frozen reasoner; `restored`, `clean` (N, 3, H, W).
    severity: the drop of the summed severity, in hundreds. rise: what rose, counted again. fidelity: PSNR
    towards the clean photo, in units of 10 dB.
    """
    change = (before - after) / 100
    error = (restored.clamp(0, 1) - clean).square().flatten(1).mean(1).clamp(min=1e-6)
    return {
        "severity": config.weight_severity * change.sum(1),
        "rise": -(config.weight_rise - 1) * (-change).clamp(min=0).sum(1),
        "fidelity": config.weight_fidelity * -error.log10(),
    }
