"""JPEG compression by the real codec (libjpeg through Pillow), quality and chroma subsampling."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from components.degradations.light import choice


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]: quality 70 down to 6."""
    return {"quality": float(round(70 - 64 * level**0.7)), "subsampling": choice(generator, ("4:2:0", "4:4:4"))}


def apply(image: torch.Tensor, params: dict, generator: torch.Generator) -> torch.Tensor:
    """(3, H, W) in [0, 1] after encoding and decoding; the generator is not used, the codec draws nothing."""
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=int(params["quality"]), subsampling=params["subsampling"])
    with Image.open(buffer) as decoded:
        return torch.from_numpy(np.asarray(decoded).copy()).permute(2, 0, 1).float() / 255


def factors(params: dict) -> dict[str, float]:
    return {"quality": params["quality"]}
