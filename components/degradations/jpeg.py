"""JPEG compression by the real codec (libjpeg through Pillow), quality and chroma subsampling."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from components.degradations.light import Generators, Params, choice, from_bytes, to_bytes

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]: quality 92 down to 6."""
    return {"quality": float(round(92 - 86 * level**0.6)), "subsampling": choice(generator, SUBSAMPLINGS)}


def apply(images: Tensor, params: Params, generators: Generators, depth: Tensor | None = None) -> Tensor:
    """(B, 3, H, W) in [0, 1] after encoding and decoding; the codec draws nothing and knows no depth."""
    rows = []
    for picture, p in zip(to_bytes(images), params, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=int(p["quality"]), subsampling=p["subsampling"])
        with Image.open(buffer) as decoded:
            rows.append(np.asarray(decoded))
    return from_bytes(rows).to(images.device)


def factors(params: dict) -> dict[str, float]:
    return {"quality": params["quality"]}
