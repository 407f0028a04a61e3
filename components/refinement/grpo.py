"""Group-relative policy optimisation (Shao et al. 2024) of the restorer's policy.

The restorer is deterministic; its policy answers each diagnosis with a Gaussian action: relative changes of the
severities that the network hears, and of its whole effect. A group of actions per photo is tried, rewarded,
and compared within the group; the clipped ratio and the KL to the supervised policy (action 0) keep it near.
"""

from __future__ import annotations

import torch

from components.refinement.config import RefineParams


def log_probability(action: torch.Tensor, mean: torch.Tensor, sigma: float) -> torch.Tensor:
    """(N,) log-density of N(mean, sigma) up to a constant; action and mean (N, ACTIONS)."""
    return -((action - mean) ** 2).sum(-1) / (2 * sigma**2)


def advantages(rewards: torch.Tensor) -> torch.Tensor:
    """(P, G) rewards normalised within each photo's group; a group without spread teaches nothing."""
    spread = rewards.std(1, keepdim=True)
    return (rewards - rewards.mean(1, keepdim=True)) / (spread + 1e-4)


def loss_terms(
    mean: torch.Tensor, old_log: torch.Tensor, action: torch.Tensor, advantage: torch.Tensor, config: RefineParams
) -> tuple[torch.Tensor, torch.Tensor]:
    """(policy loss, KL to the supervised policy), scalars; mean (N, ACTIONS) carries the gradient.

    KL of two Gaussians of equal sigma: |mean - 0|^2 / (2 sigma^2).
    """
    ratio = (log_probability(action, mean, config.action_sigma) - old_log).exp()
    clipped = ratio.clamp(1 - config.clip_ratio, 1 + config.clip_ratio)
    policy = -torch.minimum(ratio * advantage, clipped * advantage).mean()
    divergence = (mean**2).sum(-1).mean() / (2 * config.action_sigma**2)
    return policy, divergence
