"""Group-relative refinement of a deterministic restorer, without probabilities: towards the good, away from the bad.

Every member of a group restores the same picture in another way. Their rewards are compared within the group (GRPO,
Shao et al. 2024); then the restorer is regressed towards what the better members painted and away from the worse, as
in DiffusionNFT (Zheng et al. 2025), for one step instead of many. What members differ by tells how far is far: the
divergence from the supervised restorer is measured in it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from components.restorer.conditioning import CONFIDENCES, FACTORS
from components.restorer.network import ACTIONS

# advantages beyond so many standard deviations of the group count as this far
CLIP = 2.0
LEAST_SPREAD = 1e-6
# what is wider than so many px is nobody's to judge within a group, see `local`
WIDE = 16
# how fast the weight of the divergence follows its target, and how far it may go
KL_SPEED, KL_RANGE = 0.1, (1e-3, 1e3)


def explore(condition: Tensor, group: int, sigma: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What `group` members hear of each of P diagnoses: conditions (P * group, C) and actions (P * group, ACTIONS).

    Relative changes of severities, confidences and factors, and of the whole effect; opposite in pairs, so that
    the group's mean stays where the restorer is.
    """
    span = slice(CONFIDENCES.start, FACTORS.stop)
    half = torch.randn((len(condition), group // 2, ACTIONS + span.stop - span.start), generator=generator)
    noise = sigma * torch.cat([half, -half], 1).flatten(0, 1).to(condition.device)
    told = condition.repeat_interleave(group, 0)
    told[:, span] = (told[:, span] * (1 + noise[:, ACTIONS:])).clamp(0, 1)
    return told, noise[:, :ACTIONS]


def advantages(rewards: Tensor) -> Tensor:
    """(P, G) rewards normalised within each photo's group; a group without spread teaches nothing."""
    spread = rewards.std(1, keepdim=True)
    return (rewards - rewards.mean(1, keepdim=True)) / (spread + 1e-4)


def spread_of(tried: Tensor, old: Tensor) -> Tensor:
    """(P,) mean squared difference of tried pictures (P, G, 3, H, W) from what the restorer painted (P, 3, H, W)."""
    return (tried - old[:, None]).square().flatten(1).mean(1).clamp(min=LEAST_SPREAD)


def local(change: Tensor) -> Tensor:
    """Changes (N, 3, H, W) without what is wider than some WIDE px: brightness, colour, a veil.

    How bright a scene was cannot be known. What a group finds out about one is the luck of that photo, and a step
    towards it unlearns the good guess for all others.
    """
    height, width = change.shape[-2:]
    coarse = F.interpolate(change, size=(-(-height // WIDE), -(-width // WIDE)), mode="area")
    return change - F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)


def verdict(old: Tensor, tried: Tensor, advantage: Tensor) -> Tensor:
    """(P, 3, H, W): where a group points to from what the restorer painted, `old`.

    Towards each member of `tried` (P, G, 3, H, W) by its advantage (P, G), away from it where that is negative.
    """
    votes = advantage.clamp(-CLIP, CLIP)[:, :, None, None, None] / CLIP
    return old + (votes * (tried - old[:, None])).mean(1)


def regression(now: Tensor, target: Tensor, spread: Tensor) -> Tensor:
    """(P,) squared distance of pictures `now` (P, 3, H, W) from their targets, in the members' spread (P,)."""
    return (now - target).square().flatten(1).mean(1) / spread


def divergence(now: Tensor, supervised: Tensor, spread: Tensor) -> Tensor:
    """(P,) KL of two Gaussians around pictures (P, 3, H, W) whose variance is the members' spread (P,)."""
    return (now - supervised).square().flatten(1).mean(1) / (2 * spread)


class Tether:
    """The weight of the divergence, which follows a target: as in PPO (Schulman et al. 2017), but smoothly."""

    def __init__(self, weight: float, target: float) -> None:
        self.weight, self.target = weight, target

    def update(self, measured: float) -> None:
        """Pull harder beyond the target, less below it; a weight of 0 stays 0."""
        if self.weight:
            error = min(1.0, max(-1.0, measured / self.target - 1))
            self.weight = min(KL_RANGE[1], max(KL_RANGE[0], self.weight * (1 + KL_SPEED * error)))
