"""Sensor noise: shot and read noise in linear light (Brooks et al. 2019), or Gaussian in sRGB as papers use.

Camera noise has the variance shot * x + read; demosaicing correlates it between neighbours.
"""

from __future__ import annotations

import math

import torch

from components.degradations.light import choice, convolve, gaussian_kernel, to_linear, to_srgb, uniform


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]: shot 3e-4..0.03 with its usual read noise, or sigma 4..52 of 255."""
    model = choice(generator, ("camera", "gaussian"))
    if model == "gaussian":
        return {"model": model, "sigma": round((4 + 48 * level) / 255, 6)}
    log_shot = math.log(3e-4) + (math.log(0.03) - math.log(3e-4)) * level
    log_read = 2.18 * log_shot + 1.20 + 0.26 * uniform(generator, -1.5, 1.5)
    return {
        "model": model,
        "shot": float(f"{math.exp(log_shot):.6g}"),
        "read": float(f"{min(0.01, math.exp(log_read)):.6g}"),
        "correlation_px": choice(generator, ("0", "0", "0.6")),
    }


def apply(image: torch.Tensor, params: dict, generator: torch.Generator) -> torch.Tensor:
    """(3, H, W) in [0, 1], noisy."""
    grain = torch.randn(image.shape, generator=generator)
    if params["model"] == "gaussian":
        return image + params["sigma"] * grain
    if params["correlation_px"] != "0":
        kernel = gaussian_kernel(float(params["correlation_px"]))
        grain = convolve(grain, kernel / kernel.square().sum().sqrt())
    light = to_linear(image)
    return to_srgb(light + grain * torch.sqrt(params["shot"] * light + params["read"]))


def factors(params: dict) -> dict[str, float]:
    """Shot gain and read variance; sRGB Gaussian noise counts as read noise at mid grey."""
    if params["model"] == "gaussian":
        # slope of sRGB -> linear at mid grey 0.5 is about 0.99
        return {"shot": 0.0, "read": (0.99 * params["sigma"]) ** 2}
    return {"shot": params["shot"], "read": params["read"]}
