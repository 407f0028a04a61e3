"""How the restorer's weights learn: Muon for the convolutions, AdamW for the rest."""

from __future__ import annotations

import os
import torch
from torch import nn


class Optimisers:
    """Muon (Jordan 2024) for the filters of convolutions, each seen as a matrix (outputs, inputs x places); AdamW for
    biases and what the diagnosis modulates. Which learns more in the same time: docs/experiments.md."""

    def __init__(self, restorer: nn.Module) -> None:
        self.filters = [
            m.weight for m in restorer.modules() if isinstance(m, nn.Conv2d) and not _is_zero(m) 
        ]
        if os.environ.get('ADAM'): self.filters=[]
        known = {id(weight) for weight in self.filters}
        # the matrices share the memory of the filters, which lie channels last
        self.matrices = [nn.Parameter(_matrix(weight.data)) for weight in self.filters]
        for matrix, weight in zip(self.matrices, self.filters, strict=True):
            assert matrix.data_ptr() == weight.data_ptr()
        rest = [p for p in restorer.parameters() if p.requires_grad and id(p) not in known]
        self.optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, weight_decay=1e-4)]
        if self.filters: self.optimisers.append(torch.optim.Muon(self.matrices, weight_decay=1e-4, adjust_lr_fn="match_rms_adamw"))

    def step(self, learning_rate: float) -> None:
        for matrix, weight in zip(self.matrices, self.filters, strict=True):
            assert weight.grad is not None
            matrix.grad = _matrix(weight.grad)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate
            optimiser.step()

    def state_dict(self) -> list[dict]:
        return [optimiser.state_dict() for optimiser in self.optimisers]

    def load_state_dict(self, states: list[dict]) -> None:
        for optimiser, state in zip(self.optimisers, states, strict=True):
            optimiser.load_state_dict(state)


def _is_zero(m) -> bool:
    return False

def _matrix(filters: torch.Tensor) -> torch.Tensor:
    """(outputs, places x inputs) of filters (outputs, inputs, h, w), without a copy where they lie channels last."""
    return filters.permute(0, 2, 3, 1).flatten(1)
