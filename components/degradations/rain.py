"""Rain: streaks as long as the exposure lets drops fall, in a near and a far layer, and the veil between.

Streaks add light (Garg & Nayar 2007): O = 1 - (1 - I)(1 - S). Angles within 45 degrees of the vertical and
lengths 8..40 px follow MiOIR / AgenticIR.
"""

from __future__ import annotations

import torch

from components.degradations.light import convolve, line_kernel, uniform


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]: the number and the brightness of the streaks grow with it."""
    length = uniform(generator, 8, 34)
    return {
        "density": round(0.02 + 0.16 * level * uniform(generator, 0.8, 1.2), 6),
        "length_px": length,
        "angle_deg": uniform(generator, -40, 40),
        "spread_deg": uniform(generator, 0, 5),
        "width_px": uniform(generator, 0.8, 1.8),
        "brightness": round(0.35 + 0.5 * level, 6),
        "veil": round(0.12 * level * uniform(generator, 0, 1), 6),
    }


def streaks(height: int, width: int, params: dict, generator: torch.Generator) -> torch.Tensor:
    """(H, W) light of the streaks in [0, 1]: two depths, two angles each."""
    light = torch.zeros(height, width)
    # (share of the drops, size relative to the near layer, brightness)
    for share, scale, gain in ((0.5, 1.0, 1.0), (0.5, 0.55, 0.6)):
        length = params["length_px"] * scale
        stroke_area = max(1.0, length * params["width_px"] * scale)
        for sign in (-1, 1):
            probability = params["density"] * share / 2 / stroke_area
            drops = (torch.rand((height, width), generator=generator) < probability).float()
            drops = drops * (0.4 + 0.6 * torch.rand((height, width), generator=generator))
            kernel = line_kernel(length, params["angle_deg"] + sign * params["spread_deg"], params["width_px"] * scale)
            light = light + gain * convolve(drops[None], kernel / kernel.max())[0].clamp(min=0)
    return (light * params["brightness"]).clamp(0, 1)


def apply(image: torch.Tensor, params: dict, generator: torch.Generator) -> torch.Tensor:
    """(3, H, W) in [0, 1] in rain."""
    light = streaks(image.shape[-2], image.shape[-1], params, generator)
    veiled = image * (1 - params["veil"]) + 0.75 * params["veil"]
    return 1 - (1 - veiled) * (1 - 0.9 * light)


def factors(params: dict) -> dict[str, float]:
    return {k: params[k] for k in ("density", "length_px", "angle_deg")}
