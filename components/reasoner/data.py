"""Training samples of the reasoner: a view of a degraded picture, and the answer it should give."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from components import storage
from components.annotation import recipe
from components.diagnosis import Diagnosis
from components.reasoner import gauges, pictures
from components.reasoner.answer import Layout, sequence
from components.reasoner.config import ReasonerParams
from components.reasoner.model import Sight
from components.storage import parquet
from components.synthesis.fresh import FreshPairs

# Answers are learnt from every state in which they are read: nothing, the thought, the findings, all decided.
REVEALED_SHARES = torch.tensor([0.55, 0.25, 0.15, 0.05])
MIRRORED_FACTORS = ("rain.angle_deg", "blur.angle_deg")
Told = tuple[np.ndarray, Diagnosis]


def load_split(split: str, pairs: str = "data/pairs", annotations: str = "data/annotations"):
    """(pictures as list of (H, W, 3) uint8, diagnoses) of a split, in shard order."""
    degraded = parquet.read_split(pairs, split, ["pair_id", "degraded"])
    told = parquet.read_split(annotations, split)
    if degraded["pair_id"].tolist() != told["pair_id"].tolist():
        raise ValueError(f"{annotations}: does not belong to {pairs}; run `dvc repro`")
    images = [storage.decode_image(data) for data in degraded["degraded"]]
    return images, [Diagnosis.model_validate_json(text) for text in told["diagnosis"]]


def object_vocabulary(diagnoses: list[Diagnosis], size: int) -> list[str]:
    """The most frequent object names of the training annotations, most frequent first, ties by name."""
    counts: dict[str, int] = {}
    for diagnosis in diagnoses:
        for name in diagnosis.objects:
            counts[name] = counts.get(name, 0) + 1
    # a word-level tokenizer knows single words only
    names = [name for name in counts if " " not in name]
    return sorted(names, key=lambda name: (-counts[name], name))[:size]


class Source(Protocol):
    """Pictures and their diagnoses by the number of the sample, the same whenever they are asked for."""

    def take(self, numbers: list[int]) -> list[Told]: ...


class Annotated:
    """The pairs of data/pairs under the teacher's diagnoses, epoch after epoch in another order."""

    def __init__(self, images: list[np.ndarray], diagnoses: list[Diagnosis], seed: int) -> None:
        self.images, self.diagnoses, self.seed = images, diagnoses, seed

    def take(self, numbers: list[int]) -> list[Told]:
        return [self._one(number) for number in numbers]

    def _one(self, number: int) -> Told:
        epoch, place = divmod(number, len(self.images))
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(self.seed * 1000 + epoch))
        index = int(order[place])
        return self.images[index], self.diagnoses[index]


class Unseen:
    """Pictures degraded anew for every sample; the recipe tells what is wrong, and no words are needed for that."""

    def __init__(self, fresh: FreshPairs) -> None:
        self.fresh = fresh

    def take(self, numbers: list[int]) -> list[Told]:
        return [
            (f.degraded, recipe.facts(f.degraded, f.recipe, f.severities, f.scene, f.objects))
            for f in self.fresh.make(numbers)
        ]


def training_samples(
    images: list[np.ndarray],
    diagnoses: list[Diagnosis],
    config: ReasonerParams,
    layout: Layout,
    sight: Sight,
    length: int,
) -> Samples:
    """The first `length` samples of a training: annotated pairs and, for `fresh_share` of them, unseen pictures."""
    unseen = Unseen(FreshPairs(config.seed)) if config.fresh_share else None
    return Samples(
        Annotated(images, diagnoses, config.seed), unseen, config.fresh_share, layout, sight, length, config.seed
    )


class Samples(torch.utils.data.Dataset):
    """Sample i of the whole training, whatever was drawn before: resuming continues the same sequence.

    An item holds `thumbnail`, `gauges`, `crop` and `streaks` as `pictures.Views` has them, `input_ids` (L,) and
    `chosen` (S,).
    `fresh_share` of the samples come from `unseen` (which may be None if it is 0), the others from `annotated`.
    """

    def __init__(self, annotated: Source, unseen: Source | None, fresh_share: float, layout: Layout, sight: Sight,
                 length: int, seed: int) -> None:  # fmt: skip
        self.annotated, self.unseen, self.fresh_share = annotated, unseen, fresh_share
        self.layout, self.sight, self.length, self.seed = layout, sight, length, seed
        self.mirrored = [layout.index[name] for name in MIRRORED_FACTORS]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: list[int]) -> list[dict[str, torch.Tensor]]:
        """Several samples at once, which is what DataLoader asks for: pictures are degraded and measured together."""
        generators = [torch.Generator().manual_seed(self.seed * 1_000_003 + number) for number in numbers]
        fresh = [float(torch.rand((), generator=g)) < self.fresh_share for g in generators]
        told: dict[int, Told] = {}
        for source, chosen in ((self.annotated, False), (self.unseen, True)):
            own = [number for number, new in zip(numbers, fresh, strict=True) if new == chosen]
            if own and source is not None:
                told |= dict(zip(own, source.take(own), strict=True))
        samples = [self._view(*told[number], generator) for number, generator in zip(numbers, generators, strict=True)]
        shapes = [(sample["whole"].shape, sample["window"].shape) for sample in samples]
        for shape in dict.fromkeys(shapes):
            group = [sample for sample, own in zip(samples, shapes, strict=True) if own == shape]
            whole, window = (torch.stack([sample.pop(name) for sample in group]) for name in ("whole", "window"))
            for sample, bars, seen in zip(group, *pictures.measured(whole, window), strict=True):
                sample["gauges"], sample["streaks"] = bars, seen
        return samples

    def _view(self, degraded: np.ndarray, diagnosis: Diagnosis, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """One random view, mirrored half of the time, and its answer; `whole` and `window` are yet to be measured."""
        levels = torch.tensor(self.layout.levels(diagnosis))
        image = pictures.at_least(pictures.to_tensor(degraded), self.sight.crop_px)
        if torch.rand((), generator=generator) < 0.5:
            image = image.flip(-1)
            for slot in self.mirrored:
                levels[slot] = torch.where(levels[slot] >= 0, 9 - levels[slot], levels[slot])
        window = _cut(image, gauges.WINDOW, generator)
        revealed = int(torch.multinomial(REVEALED_SHARES, 1, generator=generator))
        ids, chosen = sequence(self.layout, levels, revealed, generator)
        return {
            "thumbnail": pictures.thumbnail(image, self.sight.thumbnail_px),
            "whole": pictures.shrunk(image, gauges.WINDOW),
            "window": window,
            "crop": _cut(window, self.sight.crop_px, generator),
            "input_ids": ids,
            "chosen": chosen,
        }


def _cut(image: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """A random square of at most `size` px on the grid that keeps the codec's in place."""
    top, left = (
        int(torch.randint(max(0, side - size) // pictures.GRID + 1, (), generator=generator)) * pictures.GRID
        for side in image.shape[-2:]
    )
    return image[:, top : top + size, left : left + size]
