"""Muon, computed in the precision of the weights.

from components.muon import Muon
Muon(matrices, lr=1e-3, weight_decay=0.01)      # matrices: parameters of two dimensions
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# the quintic whose iteration drives all singular values towards 1, and how often (Jordan 2024)
COEFFICIENTS, ROUNDS = (3.4445, -4.7750, 2.0315), 5


class Muon(torch.optim.Muon):
    """PyTorch's Muon (Jordan 2024; the rate is scaled as Liu et al. 2025 do, so that AdamW's can be kept), but for the
    precision of its orthogonalisation.

    PyTorch's is in bfloat16 always, which a processor without such instructions emulates, at more than the cost of all
    the rest of a step (docs/experiments.md). States are the same, so either goes on from the other's.
    """

    def __init__(self, params, lr: float = 1e-3, weight_decay: float = 0.1) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure=None) -> None:  # type: ignore[override]
        """One step; a closure is not wanted."""
        assert closure is None
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight.grad)
                mean = state["momentum_buffer"].lerp_(weight.grad, 1 - momentum)
                # Nesterov's momentum
                update = orthogonal(weight.grad.lerp(mean, momentum))
                weight.mul_(1 - rate * group["weight_decay"])
                weight.add_(update, alpha=-rate * 0.2 * math.sqrt(max(weight.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix U S V^T: its singular values become 0.7 to 1.2 by Newton-Schulz iteration."""
    first, third, fifth = COEFFICIENTS
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=third, alpha=fifth), wide, beta=first)
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide
