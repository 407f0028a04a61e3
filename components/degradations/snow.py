"""Snow: flakes of three sizes, near ones large and out of focus, moving; they cover what is behind them.

Alpha compositing to near white as in CDD-11 and Snow100K, with the mist of the flakes too small to see.
"""

from __future__ import annotations

import torch

from components.degradations.light import convolve, disk_kernel, line_kernel, uniform


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]: the share of pixels that flakes cover grows with it."""
    return {
        "density": round(0.015 + 0.17 * level * uniform(generator, 0.8, 1.2), 6),
        "flake_px": uniform(generator, 2, 6.5),
        "motion_px": uniform(generator, 0, 8),
        "angle_deg": uniform(generator, -45, 45),
        "white": uniform(generator, 0.88, 1.0),
        "mist": round(0.18 * level * uniform(generator, 0, 1), 6),
    }


def flakes(height: int, width: int, params: dict, generator: torch.Generator) -> torch.Tensor:
    """(H, W) opacity of the snow in [0, 1]."""
    clear = torch.ones(height, width)
    # (diameter relative to flake_px, share of the covered area, opacity): far, middle, near
    for scale, share, opacity in ((0.45, 0.4, 0.75), (0.8, 0.35, 0.95), (1.5, 0.25, 0.7)):
        radius = max(0.45, params["flake_px"] * scale / 2)
        probability = params["density"] * share / (3.1416 * radius**2)
        seeds = (torch.rand((height, width), generator=generator) < probability).float()
        seeds = seeds * (0.5 + 0.5 * torch.rand((height, width), generator=generator))
        disk = disk_kernel(radius)
        layer = convolve(seeds[None], disk / disk.max())
        if params["motion_px"] * scale > 1:
            layer = convolve(layer, line_kernel(params["motion_px"] * scale, params["angle_deg"]))
        clear = clear * (1 - opacity * layer[0].clamp(0, 1))
    return 1 - clear


def apply(image: torch.Tensor, params: dict, generator: torch.Generator) -> torch.Tensor:
    """(3, H, W) in [0, 1] in falling snow."""
    opacity = flakes(image.shape[-2], image.shape[-1], params, generator)
    misty = image * (1 - params["mist"]) + 0.85 * params["mist"]
    return misty * (1 - opacity) + params["white"] * opacity


def factors(params: dict) -> dict[str, float]:
    return {"density": params["density"], "flake_px": params["flake_px"]}
