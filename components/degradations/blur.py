"""Blur: light spread by the lens or by motion, I = J * k in linear light.

Kernels: Gaussian, defocus disk, straight motion, and camera shake as a random walk of the hand
(after the trajectories of DeblurGAN, Kupyn et al. 2018).
"""

from __future__ import annotations

import math

import torch

from components.degradations.light import (
    choice,
    convolve,
    disk_kernel,
    gaussian_kernel,
    line_kernel,
    to_linear,
    to_srgb,
    uniform,
)
from components.diagnosis import BLUR_KINDS


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]; `extent_px` is the kernel's diameter (four sigma for a Gaussian)."""
    kind = choice(generator, BLUR_KINDS)
    smallest, largest = {"gaussian": (1.8, 13), "defocus": (1.6, 11), "motion": (2.0, 22), "shake": (2.5, 24)}[kind]
    return {
        "kind": kind,
        "extent_px": round(smallest + (largest - smallest) * level, 6),
        "angle_deg": uniform(generator, -90, 90) if kind == "motion" else 0.0,
    }


def shake_kernel(extent_px: float, generator: torch.Generator) -> torch.Tensor:
    """(k, k) kernel of sum 1: the path of a hand that drifts, jerks and is pulled back."""
    steps = 240
    velocity = torch.randn(2, generator=generator)
    position = torch.zeros(2)
    path = torch.empty(steps, 2)
    jerks = torch.randn((steps, 2), generator=generator)
    big = torch.rand(steps, generator=generator)
    for i in range(steps):
        velocity = 0.96 * velocity + 0.35 * jerks[i] - 0.012 * position
        if big[i] < 0.01:
            velocity = -velocity
        position = position + velocity
        path[i] = position
    path = path - (path.amax(0) + path.amin(0)) / 2
    path = path * (extent_px / 2) / path.norm(dim=1).max().clamp(min=1e-6)
    radius = max(1, math.ceil(extent_px / 2) + 1)
    kernel = torch.zeros(2 * radius + 1, 2 * radius + 1)
    # bilinear splat of every point of the path
    base = torch.floor(path)
    fraction = path - base
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (fraction[:, 0] if dy else 1 - fraction[:, 0]) * (fraction[:, 1] if dx else 1 - fraction[:, 1])
            rows = base[:, 0].long() + dy + radius
            columns = base[:, 1].long() + dx + radius
            kernel.index_put_((rows, columns), weight, accumulate=True)
    return kernel / kernel.sum()


def point_spread(params: dict, generator: torch.Generator) -> torch.Tensor:
    """(k, k) kernel of sum 1 for the parameters."""
    extent = params["extent_px"]
    if params["kind"] == "gaussian":
        return gaussian_kernel(extent / 4)
    if params["kind"] == "defocus":
        return disk_kernel(extent / 2)
    if params["kind"] == "motion":
        return line_kernel(extent, params["angle_deg"])
    return shake_kernel(extent, generator)


def apply(image: torch.Tensor, params: dict, generator: torch.Generator) -> torch.Tensor:
    """(3, H, W) in [0, 1], blurred in linear light."""
    return to_srgb(convolve(to_linear(image), point_spread(params, generator)))


def factors(params: dict) -> dict[str, float | str]:
    return {"kind": params["kind"], "extent_px": params["extent_px"], "angle_deg": params["angle_deg"]}
