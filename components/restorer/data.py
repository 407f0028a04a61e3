"""Training samples of the restorer: crops of pairs under the true, the predicted or no diagnosis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from components import storage
from components.diagnosis import Diagnosis
from components.restorer.conditioning import CONDITION, condition_vector, mirrored, misheard
from components.restorer.config import RestorerParams


@dataclass
class Pairs:
    """A split in memory: pictures (H, W, 3) uint8, conditions (N, CONDITION), embeddings (N, D)."""

    ids: list[str]
    cases: list[str]
    degraded: list[np.ndarray]
    clean: list[np.ndarray]
    true: torch.Tensor
    predicted: torch.Tensor
    embeddings: torch.Tensor


def load_split(split: str) -> Pairs:
    """The pairs of a split with what the teacher and the reasoner say of them."""
    pairs = storage.read_shards("data/pairs", split, ["pair_id", "case", "degraded", "clean"])
    told = storage.read_shards("data/annotations", split)
    priors = storage.read_shards("data/priors", split, ["pair_id", "diagnosis", "embedding"])
    for name, frame in (("data/annotations", told), ("data/priors", priors)):
        if frame["pair_id"].tolist() != pairs["pair_id"].tolist():
            raise ValueError(f"{name}: does not belong to data/pairs; run `dvc repro`")
    return Pairs(
        ids=pairs["pair_id"].tolist(),
        cases=pairs["case"].tolist(),
        degraded=[storage.decode_image(data) for data in pairs["degraded"]],
        clean=[storage.decode_image(data) for data in pairs["clean"]],
        true=_conditions(told["diagnosis"]),
        predicted=_conditions(priors["diagnosis"]),
        embeddings=torch.tensor(np.stack(priors["embedding"].tolist()), dtype=torch.float32),
    )


def _conditions(texts) -> torch.Tensor:
    return torch.stack([condition_vector(Diagnosis.model_validate_json(text)) for text in texts])


def as_batch(images: list[np.ndarray]) -> torch.Tensor:
    """(B, 3, H, W) float in [0, 1], channels last in memory, from equally large uint8 pictures."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return stacked.float().div(255).contiguous(memory_format=torch.channels_last)


def draw_batch(pairs: Pairs, config: RestorerParams, step: int) -> tuple[torch.Tensor, ...]:
    """Batch `step` (degraded, clean, condition, embedding), the same whenever it is asked for."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    size = config.crop_px
    inputs, targets, conditions, embeddings = [], [], [], []
    for slot in range(config.batch_size):
        epoch, place = divmod(step * config.batch_size + slot, len(pairs.ids))
        order = torch.randperm(len(pairs.ids), generator=torch.Generator().manual_seed(config.seed * 1000 + epoch))
        index = int(order[place])
        height, width = pairs.degraded[index].shape[:2]
        # the codec's 8-pixel grid stays in place
        top = 8 * int(torch.randint((height - size) // 8 + 1, (), generator=generator))
        left = 8 * int(torch.randint((width - size) // 8 + 1, (), generator=generator))
        window = (slice(top, top + size), slice(left, left + size))
        mirror, say, hear, doubt = torch.rand(4, generator=generator).tolist()
        flip = slice(None, None, -1) if mirror < 0.5 else slice(None)
        inputs.append(pairs.degraded[index][window][:, flip])
        targets.append(pairs.clean[index][window][:, flip])
        told = pairs.predicted if say < config.predicted_share else pairs.true
        known = float(torch.rand((), generator=generator)) >= config.drop_diagnosis
        truth = mirrored(told[index]) if mirror < 0.5 else told[index]
        heard = misheard(truth, generator) if doubt < config.misheard_share else truth
        conditions.append(heard if known else torch.zeros(CONDITION))
        dropped = hear < config.drop_embedding or not known
        embeddings.append(torch.zeros_like(pairs.embeddings[index]) if dropped else pairs.embeddings[index])
    return as_batch(inputs), as_batch(targets), torch.stack(conditions), torch.stack(embeddings)
