"""How the restorer's weights learn: Muon for the filters, AdamW for the rest."""

from __future__ import annotations

import torch
from torch import nn

from components.muon import Muon


class Optimisers:
    """Muon (Jordan 2024) for the filters of convolutions, each seen as a matrix (outputs, places x inputs).

    AdamW for biases and for what the diagnosis modulates. In equal time from nothing a decibel better than AdamW
    alone (docs/experiments.md).
    """

    def __init__(self, restorer: nn.Module) -> None:
        convolutions = [m for m in restorer.modules() if isinstance(m, nn.Conv2d)]
        self.filters = [m.weight for m in convolutions]
        # the matrices share the memory of the filters, which must lie channels last for that
        self.matrices = [nn.Parameter(_matrix(weight.data)) for weight in self.filters]
        if any(a.data_ptr() != b.data_ptr() for a, b in zip(self.matrices, self.filters, strict=True)):
            raise ValueError("the restorer's filters do not lie channels last: .to(memory_format=torch.channels_last)")
        known = {id(weight) for weight in self.filters}
        rest = [p for p in restorer.parameters() if p.requires_grad and id(p) not in known]
        self.optimisers: list[torch.optim.Optimizer] = [
            Muon(self.matrices, weight_decay=1e-4),
            torch.optim.AdamW(rest, weight_decay=1e-4),
        ]

    def step(self, learning_rate: float) -> None:
        """One step with the gradients that the restorer's parameters have."""
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


def _matrix(filters: torch.Tensor) -> torch.Tensor:
    """(outputs, places x inputs) of filters (outputs, inputs, h, w), without a copy where they lie channels last."""
    return filters.permute(0, 2, 3, 1).flatten(1)
