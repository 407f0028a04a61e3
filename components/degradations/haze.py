"""Haze and fog: scattered light, I = J t + A (1 - t), t = exp(-beta d) (Koschmieder; Narasimhan & Nayar 2002).

Ranges follow RESIDE and OneRestore's CDD-11 (beta 0.6..2.5 on normalised depth, A 0.6..1), begun lower so that the
faintest haze is just visible; half of the recipes mix in linear light, as physics says, half in sRGB, as the
literature's data sets do. Recipes of elsewhere.py bring another `form` of depth.
"""

from __future__ import annotations

import torch
from torch import Tensor

from components.degradations import depth as depths
from components.degradations.light import Generators, Params, choice, column, decay, to_linear, to_srgb, uniform

# nothing vanishes entirely: the least share of the scene's light that arrives
LEAST_TRANSMISSION = 0.05


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]: the optical depth of the farthest point grows with it."""
    grey = uniform(generator, 0.65, 0.95)
    # fog is grey, haze of dust warm, of distance blue
    warmth, green = uniform(generator, -0.05, 0.05), uniform(generator, -0.015, 0.015)
    airlight = [round(min(1.0, grey + tint), 6) for tint in (warmth, green, -warmth)]
    return {
        "beta": round(0.06 + 2.44 * level**1.5, 6),
        "airlight": airlight,
        **depths.sample(generator),
        "space": choice(generator, ("linear", "srgb")),
    }


def veil(images: Tensor, optical: Tensor, air: Tensor) -> Tensor:
    """(B, 3, H, W) behind air of colour (B, 3, 1, 1), both in one space, at an optical depth (B, 1, H, W)."""
    t = decay(optical).clamp(min=LEAST_TRANSMISSION)
    # t = 1 changes not even the last bit
    return torch.lerp(air, images, t)


def apply(images: Tensor, params: Params, generators: Generators, depth: Tensor | None = None) -> Tensor:
    """(B, 3, H, W) in [0, 1] seen through haze; `depth` (B, 1, H, W) in [0, 1], plausible where None."""
    if depth is None:
        depth = depths.plausible(images, params, generators)
    optical = depth * column(params, "beta", images)
    air = column(params, "airlight", images)
    spaces = {p["space"] for p in params}
    if spaces == {"srgb"}:
        return veil(images, optical, air)
    linear = to_srgb(veil(to_linear(images), optical, to_linear(air)))
    if spaces == {"linear"}:
        return linear
    physical = torch.tensor([p["space"] == "linear" for p in params], device=images.device)[:, None, None, None]
    return torch.where(physical, linear, veil(images, optical, air))


def factors(params: dict) -> dict[str, float]:
    """Transmission of the middle of the depth range, grey of the air."""
    middle = torch.tensor(params["beta"] * (1 + params["floor"]) / 2)
    t = max(LEAST_TRANSMISSION, round(float(decay(middle)), 6))
    return {"transmission": t, "airlight": sum(params["airlight"]) / 3}
