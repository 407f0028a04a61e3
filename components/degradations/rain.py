"""Rain: streaks as long as drops fall during the exposure, in layers of depth, and the mist between them.

A drop covers a pixel for a share `a` of the exposure and shows the sky behind us meanwhile, so light adds linearly:
L' = L (1 - a) + E a (Garg & Nayar 2007). Far drops are shorter, thinner and fainter. Angles within 40 degrees of the
vertical and lengths 8..34 px follow MiOIR / AgenticIR.

`sheet` is the other model: one layer of streaks of one brightness and nearly one direction, added in sRGB, as most
synthetic data sets have it (Rain100, MiOIR).
"""

from __future__ import annotations

import torch
from torch import Tensor

from components.degradations import depth as depths
from components.degradations import particles
from components.degradations.haze import veil
from components.degradations.light import Generators, Params, column, to_linear, to_srgb, uniform

# (share of the drops' area, size relative to the nearest layer, opacity)
LAYERS = ((0.35, 1.0, 1.0), (0.35, 0.65, 0.75), (0.3, 0.4, 0.55))
SHEET = ((1.0, 1.0, 1.0),)


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]: number and opacity of the streaks and the mist grow with it."""
    return {
        "density": round((0.015 + 0.165 * level) * uniform(generator, 0.8, 1.2), 6),
        "length_px": uniform(generator, 8, 34),
        "angle_deg": uniform(generator, -40, 40),
        "spread_deg": uniform(generator, 0.5, 5),
        "width_px": uniform(generator, 1.0, 2.2),
        "opacity": round(0.10 + 0.35 * level, 6),
        "light": uniform(generator, 0.75, 1.0),
        "mist": round(0.35 * level * uniform(generator, 0, 1), 6),
        **depths.sample(generator),
    }


def streaks(height: int, width: int, params: dict, generator: torch.Generator) -> Tensor:
    """(H, W) share of the exposure in [0, 1] during which a drop covers each pixel."""
    longest = 1.3 * params["length_px"]
    field = particles.Field(height, width, params["length_px"] / 2, longest / 2 + 3, generator.device)
    layers = SHEET if _is_sheet(params) else LAYERS
    # how far drops differ in brightness and length
    spread = 0.3 if _is_sheet(params) else 1.0
    for (share, scale, opacity), own in zip(layers, particles.split(generator, len(layers)), strict=True):
        length, thick = params["length_px"] * scale, max(0.6, params["width_px"] * scale)
        drops = field.scatter(params["density"] * share, length * thick, own)
        angle = torch.deg2rad(params["angle_deg"] + params["spread_deg"] * (2 * drops[:, 2] - 1))
        bright = params["opacity"] * opacity * (1 + spread * (1.2 * drops[:, 4] - 0.6))
        long = length * (1 + spread * (0.6 * drops[:, 3] - 0.3))
        field.draw_strokes(drops[:, :2], angle, long, thick, bright)
    return field.opacity()


def apply(images: Tensor, params: Params, generators: Generators, depth: Tensor | None = None) -> Tensor:
    """(B, 3, H, W) in [0, 1] in rain; `depth` (B, 1, H, W) in [0, 1], plausible where None."""
    height, width = images.shape[-2:]
    cover = torch.stack([streaks(height, width, p, g) for p, g in zip(params, generators, strict=True)])
    cover = cover[:, None].to(images.device)
    light = to_linear(column(params, "light", images))
    linear, mist = to_linear(images), column(params, "mist", images)
    if float(mist.max()) > 0:
        # after the streaks, which must not depend on whether another sample of the batch has mist
        if depth is None:
            depth = depths.plausible(images, params, generators)
        linear = veil(linear, depth * mist, 0.7 * light)
    wet = to_srgb(torch.lerp(linear, light, cover))
    sheets = torch.tensor([_is_sheet(p) for p in params], device=images.device)[:, None, None, None]
    if bool(sheets.any()):
        return torch.where(sheets, images + cover * column(params, "light", images), wet)
    return wet


def _is_sheet(params: dict) -> bool:
    return params.get("model") == "sheet"


def factors(params: dict) -> dict[str, float]:
    return {k: params[k] for k in ("density", "length_px", "angle_deg")}
