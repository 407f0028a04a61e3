"""Training samples of the reasoner: a view of a degraded picture, and the answer it should give."""

from __future__ import annotations

import numpy as np
import torch

from components import storage
from components.diagnosis import Diagnosis
from components.reasoner import pictures
from components.reasoner.answer import Layout, sequence
from components.reasoner.model import Sight

# Answers are learnt from every state in which they are read: nothing, the thought, the findings, all decided.
REVEALED_SHARES = torch.tensor([0.55, 0.25, 0.15, 0.05])
MIRRORED_FACTORS = ("rain.angle_deg", "blur.angle_deg")


def load_split(split: str, pairs: str = "data/pairs", annotations: str = "data/annotations"):
    """(pictures as list of (H, W, 3) uint8, diagnoses) of a split, in shard order."""
    degraded = storage.read_shards(pairs, split, ["pair_id", "degraded"])
    told = storage.read_shards(annotations, split)
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


class Samples(torch.utils.data.Dataset):
    """Sample i of the whole training, whatever was drawn before: resuming continues the same sequence.

    An item holds `thumbnail` (6, t, t), `crop` (3, c, c), `input_ids` (L,), `chosen` (S,).
    """

    def __init__(self, images: list[np.ndarray], diagnoses: list[Diagnosis], layout: Layout, sight: Sight,
                 length: int, seed: int) -> None:  # fmt: skip
        self.images, self.layout, self.sight = images, layout, sight
        self.levels = torch.tensor([layout.levels(diagnosis) for diagnosis in diagnoses])
        self.length, self.seed = length, seed
        self.mirrored = [layout.index[name] for name in MIRRORED_FACTORS]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        epoch, place = divmod(number, len(self.images))
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(self.seed * 1000 + epoch))
        index = int(order[place])
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        image = pictures.at_least(pictures.to_tensor(self.images[index]), self.sight.crop_px)
        levels = self.levels[index].clone()
        size = self.sight.crop_px
        top, left = (
            int(torch.randint((side - size) // pictures.GRID + 1, (), generator=generator)) * pictures.GRID
            for side in image.shape[-2:]
        )
        crop = image[:, top : top + size, left : left + size]
        thumbnail = pictures.thumbnail(image, self.sight.thumbnail_px)
        if torch.rand((), generator=generator) < 0.5:
            crop, thumbnail = crop.flip(-1), thumbnail.flip(-1)
            for slot in self.mirrored:
                levels[slot] = torch.where(levels[slot] >= 0, 9 - levels[slot], levels[slot])
        revealed = int(torch.multinomial(REVEALED_SHARES, 1, generator=generator))
        ids, chosen = sequence(self.layout, levels, revealed, generator)
        return {"thumbnail": thumbnail, "crop": crop, "input_ids": ids, "chosen": chosen}
