"""Blur: light spread by the lens or by motion, I = J * k in linear light.

Kernels: Gaussian, defocus disk, straight motion, and camera shake along the path of a hand.
"""

from __future__ import annotations

import torch
from torch import Tensor

from components.degradations.kernels import blur_gaussian, convolve, disk_kernel, line_kernel, shake_kernel
from components.degradations.light import Generators, Params, choice, to_linear, to_srgb, uniform
from components.diagnosis import BLUR_KINDS

# smallest and largest `extent_px` of each kind
EXTENTS = {"gaussian": (1.8, 13), "defocus": (1.6, 11), "motion": (2.0, 22), "shake": (2.5, 24)}


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]; `extent_px` is the kernel's diameter (four sigma for a Gaussian)."""
    kind = choice(generator, BLUR_KINDS)
    smallest, largest = EXTENTS[kind]
    angle = uniform(generator, -90, 90)
    return {
        "kind": kind,
        "extent_px": round(smallest + (largest - smallest) * level, 6),
        "angle_deg": angle if kind == "motion" else 0.0,
    }


def point_spread(params: dict, generator: torch.Generator) -> Tensor:
    """(k, k) kernel of sum 1 for a blur that is no Gaussian."""
    if params["kind"] == "defocus":
        return disk_kernel(params["extent_px"] / 2)
    if params["kind"] == "motion":
        return line_kernel(params["extent_px"], params["angle_deg"])
    return shake_kernel(params["extent_px"], generator)


def apply(images: Tensor, params: Params, generators: Generators, depth: Tensor | None = None) -> Tensor:
    """(B, 3, H, W) in [0, 1], blurred in linear light (or in sRGB, where `space` says so); depth does not matter."""
    light = to_linear(images)
    flat = torch.tensor([p.get("space") == "srgb" for p in params], device=images.device)[:, None, None, None]
    rows = []
    for image, p, generator in zip(torch.where(flat, images, light), params, generators, strict=True):
        if p["kind"] == "gaussian":
            rows.append(blur_gaussian(image[None], [p["extent_px"] / 4]))
        else:
            rows.append(convolve(image[None], [point_spread(p, generator)]))
    blurred = torch.cat(rows)
    return torch.where(flat, blurred, to_srgb(blurred))


def factors(params: dict) -> dict[str, float | str]:
    return {"kind": params["kind"], "extent_px": params["extent_px"], "angle_deg": params["angle_deg"]}
