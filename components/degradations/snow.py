"""Snow: flakes near, at middle distance and far, in motion and out of focus; they cover what is behind them.

Opaque and lit by the whole sky, composited to near white in linear light (CDD-11 and Snow100K composite in sRGB),
with the mist of the flakes too small to see.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from components.degradations import depth as depths
from components.degradations import particles
from components.degradations.haze import veil
from components.degradations.light import Generators, Params, column, to_linear, to_srgb, uniform

# (share of the covered area, size relative to flake_px, opacity, px of defocus at the rim relative to the size)
LAYERS = ((0.4, 0.45, 0.6, 0.5), (0.35, 0.9, 0.85, 0.4), (0.25, 1.8, 0.5, 0.9))

# px: flakes are no smaller, and below the second one they are drawn as strokes
LEAST_RADIUS, DOT = 0.6, 1.2


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]: the share of pixels that flakes cover, and the mist, grow with it."""
    return {
        "density": round((0.003 + 0.19 * level**1.2) * uniform(generator, 0.8, 1.2), 6),
        "flake_px": uniform(generator, 1.8, 6.0),
        "motion_px": uniform(generator, 0, 8),
        "angle_deg": uniform(generator, -45, 45),
        "white": uniform(generator, 0.88, 1.0),
        "mist": round(0.45 * level * uniform(generator, 0, 1), 6),
        **depths.sample(generator),
    }


def flakes(height: int, width: int, params: dict, generator: torch.Generator) -> Tensor:
    """(H, W) opacity of the snow in [0, 1]."""
    clear = torch.ones((height, width), device=generator.device)
    for (share, scale, opacity, defocus), own in zip(LAYERS, particles.split(generator, len(LAYERS)), strict=True):
        radius = max(LEAST_RADIUS, params["flake_px"] * scale / 2)
        motion, soft = params["motion_px"] * scale, max(1.0, defocus * 2 * radius)
        field = particles.Field(height, width, radius + motion, 1.4 * radius + soft / 2 + motion + 2, generator.device)
        seeds = field.scatter(params["density"] * share, math.pi * radius**2, own)
        size, cover = radius * (0.6 + 0.8 * seeds[:, 2]), opacity * (0.7 + 0.3 * seeds[:, 3])
        angle = math.radians(params["angle_deg"])
        if radius < DOT:
            # too small to have a shape: a short stroke of the same light
            spent = math.pi / 4 * 2 * size / (2 * size + motion)
            field.draw_strokes(seeds[:, :2], torch.full_like(size, angle), 2 * size + motion, 2 * radius, cover * spent)
        else:
            field.draw_flakes(seeds[:, :2], size, soft, motion, angle, cover)
        clear = clear * (1 - field.opacity())
    return 1 - clear


def apply(images: Tensor, params: Params, generators: Generators, depth: Tensor | None = None) -> Tensor:
    """(B, 3, H, W) in [0, 1] in falling snow; `depth` (B, 1, H, W) in [0, 1], plausible where None."""
    height, width = images.shape[-2:]
    cover = torch.stack([flakes(height, width, p, g) for p, g in zip(params, generators, strict=True)])
    cover = cover[:, None].to(images.device)
    white = to_linear(column(params, "white", images))
    linear, mist = to_linear(images), column(params, "mist", images)
    if float(mist.max()) > 0:
        # after the flakes, which must not depend on whether another sample of the batch has mist
        if depth is None:
            depth = depths.plausible(images, params, generators)
        linear = veil(linear, depth * mist, 0.75 * white)
    return to_srgb(torch.lerp(linear, white, cover))


def factors(params: dict) -> dict[str, float]:
    return {"density": params["density"], "flake_px": params["flake_px"]}
