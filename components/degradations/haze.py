"""Haze and fog: scattered light, I = J t + A (1 - t), t = exp(-beta d) (Koschmieder; Narasimhan & Nayar 2002).

Ranges follow RESIDE and OneRestore's CDD-11 (beta 0.6..2.5 on normalised depth, A 0.6..1), begun lower so that the
faintest haze is just visible; half of the recipes mix in linear light, as physics says, half in sRGB, as the
literature's data sets do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from components.degradations import depth as depths
from components.degradations.light import choice, column, decay, to_linear, to_srgb, uniform

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


def veil(images: torch.Tensor, optical: torch.Tensor, air: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) behind air of colour (B, 3, 1, 1), both in one space, at an optical depth (B, 1, H, W)."""
    t = decay(optical).clamp(min=LEAST_TRANSMISSION)
    return air + (images - air) * t


def apply(
    images: torch.Tensor,
    params: Sequence[dict],
    generators: Sequence[torch.Generator],
    depth: torch.Tensor | None = None,
) -> torch.Tensor:
    """(B, 3, H, W) in [0, 1] seen through haze; `depth` (B, 1, H, W) in [0, 1], plausible where None."""
    if depth is None:
        depth = depths.plausible(images, params, generators)
    optical = depth * column(params, "beta", images)
    air = column(params, "airlight", images)
    physical = torch.tensor([p["space"] == "linear" for p in params], device=images.device)
    out = torch.empty_like(images)
    for in_linear, chosen in ((True, physical), (False, ~physical)):
        if chosen.any():
            picture, light, far = images[chosen], air[chosen], optical[chosen]
            if in_linear:
                out[chosen] = to_srgb(veil(to_linear(picture), far, to_linear(light)))
            else:
                out[chosen] = veil(picture, far, light)
    return out


def factors(params: dict) -> dict[str, float]:
    """Transmission of the middle of the depth range, grey of the air."""
    middle = torch.tensor(params["beta"] * (1 + params["floor"]) / 2)
    t = max(LEAST_TRANSMISSION, round(float(decay(middle)), 6))
    return {"transmission": t, "airlight": sum(params["airlight"]) / 3}
