"""Low light: fewer photons, the grain that follows from them, and the camera's response.

Exposure acts on linear light (one EV halves it). Photon noise has the variance of the signal over the full-well
count, read noise its own (Foi et al. 2008); the response gamma then bends the tones as a steeper film would.

Two models of the literature stand beside this camera: `power`, sRGB ** gamma, and `retinex` (CDD-11), reflectance
times illumination ** gamma, both plus Gaussian noise of `sigma` in sRGB; and `levels`, (sRGB - black) * scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from components.degradations.depth import guided
from components.degradations.light import (
    Generators,
    Params,
    column,
    curve_table,
    look_up,
    normal,
    respond,
    to_linear,
    uniform,
)


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]: -0.06 to -4.3 EV and up to a gamma of 1.5.

    `full_well` is in electrons, `read` the read noise in electrons.
    """
    return {
        "model": "camera",
        "exposure_ev": round(-(0.06 + 4.24 * level**1.2), 6),
        "gamma": round(1 + uniform(generator, 0, 0.5) * level, 6),
        "full_well": round(uniform(generator, 4000, 20000), 1),
        "read": uniform(generator, 1.5, 6),
    }


def apply(images: Tensor, params: Params, generators: Generators, depth: Tensor | None = None) -> Tensor:
    """(B, 3, H, W) in [0, 1], underexposed; depth does not matter."""
    grain = normal(images.shape[1:], generators).to(images.device)
    if all(p["model"] == "camera" for p in params):
        return _camera(images, grain, params)
    rows = zip(images[:, None], grain[:, None], params, strict=True)
    return torch.cat([_camera(i, g, [p]) if p["model"] == "camera" else _darkened(i, g, p) for i, g, p in rows])


def _darkened(image: Tensor, grain: Tensor, params: dict) -> Tensor:
    """(1, 3, H, W) by a power of the picture or of its illumination alone, or by its levels."""
    gamma = params["gamma"]
    if params["model"] == "levels":
        dark = (image - params["black"]).clamp_(min=0) * params["scale"]
    elif params["model"] == "power":
        dark = look_up(image, curve_table(lambda x: x**gamma))
    else:
        bright = image.amax(1, keepdim=True)
        slope, offset = guided(bright, bright, max(2, min(image.shape[-2:]) // 16), 1e-2)
        light = (slope * bright + offset).clamp(0, 1)
        # R L^gamma with R = I / L
        dark = image * look_up(light, curve_table(lambda x: x ** (gamma - 1)))
    return dark + params["sigma"] * grain


def _camera(images: Tensor, grain: Tensor, params: Sequence[dict]) -> Tensor:
    exposure = torch.tensor([2.0 ** p["exposure_ev"] for p in params])[:, None, None, None].to(images.device)
    full_well, read = column(params, "full_well", images), column(params, "read", images)
    light = to_linear(images) * exposure
    deviation = torch.sqrt(light / full_well + (read / full_well) ** 2)
    return respond(light + grain * deviation, [p["gamma"] for p in params])


def factors(params: dict) -> dict[str, float]:
    """Exposure in EV and gamma; another model counts as the exposure that darkens mid grey as much."""
    if params["model"] == "levels":
        grey = max(0.01, (0.5 - params["black"]) * params["scale"])
        return {"exposure_ev": round(2.2 * math.log2(grey / 0.5), 6), "gamma": params["gamma"]}
    if params["model"] != "camera":
        return {"exposure_ev": round(2.2 * (1 - params["gamma"]), 6), "gamma": params["gamma"]}
    return {"exposure_ev": params["exposure_ev"], "gamma": params["gamma"]}
