"""Looks: the same scene as another camera, hour or taste would show it, still without any damage.

Fifty photos show few ways in which a good photo can be dark, pale or warm; a reasoner trained on them alone takes
every night scene for an underexposed one. A look bends tones while black stays black and white stays white (which
no underexposure does), changes saturation, tints mildly. It is drawn for training pairs only.
"""

from __future__ import annotations

import numpy as np
import torch

from components.degradations.light import luma, uniform

# exponent 2**tone on sRGB values: low-key scenes are commoner than high-key ones
TONES = (-0.5, 0.8)
CONTRASTS = (-0.3, 0.5)
SATURATIONS = (0.5, 1.3)
TINT = 0.08


def sample(generator: torch.Generator) -> dict:
    """A random look."""
    return {
        "tone": uniform(generator, *TONES),
        "contrast": uniform(generator, *CONTRASTS),
        "saturation": uniform(generator, *SATURATIONS),
        "tint": [uniform(generator, -TINT, TINT) for _ in range(3)],
    }


def apply(photo: np.ndarray, look: dict) -> np.ndarray:
    """(H, W, 3) uint8 in another look; an empty look changes nothing."""
    if not look:
        return photo
    image = torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 255
    grey = luma(image)
    image = (grey + look["saturation"] * (image - grey)).clamp(0, 1)
    exponents = 2 ** (look["tone"] + torch.tensor(look["tint"]))
    image = image ** exponents[:, None, None]
    # smoothstep has the fixed points 0, 1/2 and 1: more of it is more contrast, less than none is less
    image = image + look["contrast"] * (image * image * (3 - 2 * image) - image)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
