"""The stored pairs with what the teacher and the reasoner say of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from components import storage
from components.diagnosis import Diagnosis
from components.restorer.conditioning import condition_vector
from components.storage import parquet


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
    pairs = parquet.read_split("data/pairs", split, ["pair_id", "case", "degraded", "clean"])
    told = parquet.read_split("data/annotations", split)
    priors = parquet.read_split("data/priors", split, ["pair_id", "diagnosis", "embedding"])
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
