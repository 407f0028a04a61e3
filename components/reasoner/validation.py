"""Validation loss while training: the same few views every time, read as a photo is read, with nothing decided yet.

The loss decides which checkpoint becomes the reasoner, so it must not depend on chance or on the number of processes:
which pairs, which crop and which rounding of the numbers between two digits follow from the parameters alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from components.diagnosis import Diagnosis
from components.reasoner import pictures
from components.reasoner.answer import Layout, sequence
from components.reasoner.model import Sight

# more say little more about a training and cost time at every checkpoint
MOST_PAIRS = 256
NOTHING_REVEALED = 0


class ValidationSamples(torch.utils.data.Dataset):
    """Up to MOST_PAIRS pairs, evenly spread over the split; the centre view of each, unmirrored.

    An item is as one of training (components.reasoner.data.Samples).
    """

    def __init__(
        self, images: list[np.ndarray], diagnoses: list[Diagnosis], layout: Layout, sight: Sight, seed: int
    ) -> None:
        count = min(MOST_PAIRS, len(images))
        chosen = [number * len(images) // count for number in range(count)]
        self.images = [images[number] for number in chosen]
        self.levels = [torch.tensor(layout.levels(diagnoses[number])) for number in chosen]
        self.layout, self.sight, self.seed = layout, sight, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        views = pictures.views_of(self.images[number], self.sight.thumbnail_px, self.sight.crop_px, 1)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        ids, chosen = sequence(self.layout, self.levels[number], NOTHING_REVEALED, generator)
        seen = {"thumbnail": views.thumbnails[0], "gauges": views.gauges[0], "crop": views.crops[0]}
        seen["streaks"] = views.streaks[0]
        return {**seen, "input_ids": ids, "chosen": chosen}


def share(samples: ValidationSamples, size: int, rank: int, processes: int) -> Iterator[dict[str, torch.Tensor]]:
    """The batches of `size` samples that one of several processes judges.

    Every process gets equally many batches, since a process that takes one step fewer would leave the others waiting
    in a collective operation: whoever has nothing left sees the first sample again with no slot asked, which counts
    for nothing.
    """
    for start in range(0, len(samples), size * processes):
        mine = range(start + rank * size, min(start + (rank + 1) * size, len(samples)))
        batch = torch.utils.data.default_collate([samples[number] for number in mine or [0]])
        if not mine:
            batch["chosen"] = torch.full_like(batch["chosen"], -1)
        yield batch
