"""Low light: fewer photons, a steeper response, and the grain that follows from both.

Exposure acts on linear light (one EV halves it); the response gamma bends the tones as in CDD-11;
photon noise has the variance of the signal over the full-well count (Foi et al. 2008).
"""

from __future__ import annotations

import torch

from components.degradations.light import to_linear, to_srgb, uniform


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]: -0.15 to -4.3 EV and up to a gamma of 1.5."""
    return {
        "exposure_ev": round(-(0.15 + 4.15 * level**1.2), 6),
        "gamma": round(1 + uniform(generator, 0, 0.5) * level, 6),
        "full_well": round(uniform(generator, 4000, 20000), 1),
    }


def apply(image: torch.Tensor, params: dict, generator: torch.Generator) -> torch.Tensor:
    """(3, H, W) in [0, 1], underexposed."""
    light = to_linear(image) ** params["gamma"] * 2.0 ** params["exposure_ev"]
    grain = torch.randn(light.shape, generator=generator)
    return to_srgb(light + grain * torch.sqrt(light / params["full_well"] + 1e-8))


def factors(params: dict) -> dict[str, float]:
    return {"exposure_ev": params["exposure_ev"], "gamma": params["gamma"]}
