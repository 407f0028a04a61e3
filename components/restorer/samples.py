"""Training samples of the restorer: crops of degraded pictures under the true, the predicted or no diagnosis.

Most pictures are degraded anew and never come again; the others are pairs of data/pairs. What the reasoner says of
these is known; where it is to be heard on the new ones, it is asked. A chunk of the training is made at once, so that a
process of its own can make it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from components.annotation.recipe import visible
from components.diagnosis import Diagnosis
from components.reasoner.reader import Reasoner
from components.restorer import deblur
from components.restorer.conditioning import CONDITION, condition_vector, mirrored, misheard
from components.restorer.config import RestorerParams
from components.restorer.data import Pairs, as_batch
from components.restorer.network import Whole, shrunk
from components.synthesis.fresh import FreshPairs

BATCHES = 8  # of a chunk
CROPS = 2  # of each picture, in batches of their own as far as chance allows
GRID = 8  # px: the codec's grid stays in place


class Batch(NamedTuple):
    """Crops (B, 3, c, c) in [0, 1], conditions (B, CONDITION), embeddings (B, D), and the photos they were cut from.

    `picture` (B, 3, H, W) is the whole of what was degraded (smaller ones are continued), the crops begin at `corner`
    (B, 2), top and left, of it.
    `truth` (B, CONDITION) is the true condition, whatever the network is told.
    """

    degraded: torch.Tensor
    clean: torch.Tensor
    condition: torch.Tensor
    picture: torch.Tensor
    corner: torch.Tensor
    embedding: torch.Tensor
    photo: torch.Tensor
    window: torch.Tensor
    prints: torch.Tensor
    truth: torch.Tensor

    def to(self, device: str) -> Batch:
        return Batch(*(field.to(device) for field in self))

    @property
    def whole(self) -> Whole:
        return Whole(self.photo, self.window, self.prints)

    def cropped(self, fields: torch.Tensor) -> torch.Tensor:
        """(B, C, c, c): what of fields (B, C, H, W) of the pictures lies in the crops."""
        side = self.degraded.shape[-1]
        corners = zip(fields, self.corner.tolist(), strict=True)
        return torch.stack([field[:, top : top + side, left : left + side] for field, (top, left) in corners])


@dataclass(frozen=True)
class Picture:
    """A degraded picture, its clean side, (H, W, 3) uint8; what is true of it, and what the reasoner says, if heard.

    The embedding (D,) is zero where the reasoner was never asked.
    """

    degraded: np.ndarray
    clean: np.ndarray
    true: torch.Tensor
    predicted: torch.Tensor | None
    embedding: torch.Tensor


class Chunks(torch.utils.data.Dataset):
    """Chunk i is BATCHES batches, the same whenever it is asked for, whatever was drawn before.

    `reasoner` is the folder of the reasoner that is heard on pictures degraded anew.
    """

    def __init__(self, pairs: Pairs, config: RestorerParams, reasoner: Path) -> None:
        self.pairs, self.config, self.reasoner = pairs, config, reasoner
        self.fresh = FreshPairs(config.seed) if config.fresh_share else None
        self.asked: Reasoner | None = None

    def __len__(self) -> int:
        return -(-self.config.steps // BATCHES)

    def __getitem__(self, chunk: int) -> list[Batch]:
        count = -(-BATCHES * self.config.batch_size // CROPS)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + chunk)
        crops = [
            self._crop(picture, generator)
            for picture in self._pictures(range(chunk * count, (chunk + 1) * count))
            for _ in range(CROPS)
        ]
        order = torch.randperm(len(crops), generator=generator).tolist()
        size = self.config.batch_size
        groups = [[crops[i] for i in order[batch * size : (batch + 1) * size]] for batch in range(BATCHES)]
        return [_batch(group) for group in groups]

    def _pictures(self, numbers: range) -> list[Picture]:
        """Pictures `numbers` of the training."""
        generators = [torch.Generator().manual_seed(self.config.seed * 7_000_003 + number) for number in numbers]
        drawn = [torch.rand(2, generator=g).tolist() for g in generators]
        new = {n: say < self.config.predicted_share for n, (own, say) in zip(numbers, drawn, strict=True)
               if own < self.config.fresh_share}  # fmt: skip
        unseen = self._unseen(new)
        return [
            unseen[n] if n in new else self._stored(n, say < self.config.predicted_share)
            for n, (_, say) in zip(numbers, drawn, strict=True)
        ]

    def _unseen(self, heard: dict[int, bool]) -> dict[int, Picture]:
        """Pictures degraded anew by their numbers; of some the reasoner is heard."""
        if self.fresh is None or not heard:
            return {}
        made = dict(zip(heard, self.fresh.make(list(heard)), strict=True))
        asked = [number for number in heard if heard[number]]
        silence = torch.zeros_like(self.pairs.embeddings[0])
        said: dict[int, tuple[torch.Tensor | None, torch.Tensor]] = dict.fromkeys(heard, (None, silence))
        if asked:
            # in the process that makes the chunks, which is another than the one that trains
            self.asked = self.asked or Reasoner(self.reasoner)
            reading = self.asked.read([made[number].degraded for number in asked])
            told = map(condition_vector, self.asked.diagnoses(reading))
            said |= dict(zip(asked, zip(told, reading.embedding, strict=True), strict=True))
        return {
            number: Picture(
                one.degraded,
                one.clean,
                condition_vector(Diagnosis(findings=visible(one.recipe, one.severities))),
                *said[number],
            )
            for number, one in made.items()
        }

    def _stored(self, number: int, heard: bool) -> Picture:
        pairs, config = self.pairs, self.config
        epoch, place = divmod(number, len(pairs.ids))
        order = torch.randperm(len(pairs.ids), generator=torch.Generator().manual_seed(config.seed * 1000 + epoch))
        i = int(order[place])
        said = pairs.predicted[i] if heard else None
        return Picture(pairs.degraded[i], pairs.clean[i], pairs.true[i], said, pairs.embeddings[i])

    def _crop(self, picture: Picture, generator: torch.Generator) -> tuple:
        config, size = self.config, self.config.crop_px
        height, width = picture.degraded.shape[:2]
        top, left = (
            GRID * int(torch.randint((side - size) // GRID + 1, (), generator=generator)) for side in (height, width)
        )
        mirror, hear, doubt, drop = torch.rand(4, generator=generator).tolist()
        flipped = mirror < 0.5
        sides = [side[:, ::-1] if flipped else side for side in (picture.degraded, picture.clean)]
        crops = [side[top : top + size, left : left + size] for side in sides]
        predicted = picture.predicted is not None
        told = picture.true if picture.predicted is None else picture.predicted
        truth, told = (mirrored(one) if flipped else one for one in (picture.true, told))
        known = drop >= config.drop_diagnosis
        # what the reasoner says is wrong now and then by itself
        heard = misheard(told, generator) if doubt < config.misheard_share and not predicted else told
        photo = as_batch([sides[0]])
        silent = hear < config.drop_embedding or not known
        return (
            *crops,
            heard if known else torch.zeros(CONDITION),
            sides[0],
            torch.tensor([top, left]),
            torch.zeros_like(picture.embedding) if silent else picture.embedding,
            shrunk(photo)[0],
            torch.tensor([top / height, left / width, (top + size) / height, (left + size) / width]),
            deblur.prints(photo[0]),
            truth,
        )


def _batch(crops: list[tuple]) -> Batch:
    degraded, clean, condition, picture, *rest = zip(*crops, strict=True)
    sides = [as_batch(list(side)) for side in (degraded, clean, _equally_large(picture))]
    fields = [*sides[:2], torch.stack(condition), sides[2], *(torch.stack(field) for field in rest)]
    return Batch(*fields)


def _equally_large(pictures: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """The smaller ones mirrored below and to the right, as the filters that they are for would continue them."""
    height, width = (max(sides) for sides in zip(*(picture.shape[:2] for picture in pictures), strict=True))
    missing = [(height - picture.shape[0], width - picture.shape[1]) for picture in pictures]
    return [
        np.pad(picture, ((0, down), (0, right), (0, 0)), mode="reflect")
        for picture, (down, right) in zip(pictures, missing, strict=True)
    ]
