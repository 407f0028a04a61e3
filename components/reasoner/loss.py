"""What the reasoner is trained to minimise: the cross-entropy of the answer's values, structure being given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from components.reasoner import pictures
from components.reasoner.answer import FINDINGS, Layout
from components.reasoner.model import Sight

# the fields of a batch that are looked at, in the order of `pictures.Views`
VIEW = ("thumbnail", "gauges", "crop", "streaks")
# findings are what restorer and reward rely on; the rest, four times as many slots, supports them
SLOT_WEIGHTS = {True: 10.0, False: 0.5}


class AnswerLoss:
    """Weighted -log p(true token) of the asked slots, for batches of `components.reasoner.data`."""

    def __init__(self, layout: Layout, sight: Sight, positions: Tensor) -> None:
        self.layout, self.positions = layout, positions
        self.grid = torch.tensor(sight.grid)
        self.weights = torch.tensor([SLOT_WEIGHTS[slot.block == FINDINGS] for slot in layout.slots])

    def answers(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """Logits (B, S, vocabulary) of the slots of a batch with the fields of VIEW and `input_ids`."""
        ids = batch["input_ids"]
        patches = pictures.look(pictures.Views(*(batch[name] for name in VIEW)))
        output = model(
            input_ids=ids,
            pixel_values=patches.flatten(0, 1),
            image_grid_thw=self.grid.to(ids.device).repeat(len(ids), 1),
            position_ids=self.positions.expand(3, len(ids), -1).to(ids.device),
            logits_to_keep=self.layout.positions.to(ids.device) - 1,
        )
        return output.logits.float()

    def parts(self, logits: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sum over the asked slots, and the sum of their weights: the loss is the one by the other.

        logits (B, S, vocabulary); chosen (B, S), the number of the true option, -1 where nothing is asked.
        """
        targets = torch.stack(
            [self.layout.options[s].to(chosen.device)[chosen[:, s].clamp(min=0)] for s in range(chosen.shape[1])], 1
        )
        losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        weights = (chosen >= 0) * self.weights.to(chosen.device)
        return (losses * weights).sum(), weights.sum()
