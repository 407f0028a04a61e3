"""Light, convolution and random numbers that the degradations share.

Images are float tensors (3, H, W) in [0, 1], sRGB unless a name says linear.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F


def to_linear(srgb: torch.Tensor) -> torch.Tensor:
    """sRGB to linear light (IEC 61966-2-1)."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: torch.Tensor) -> torch.Tensor:
    """Linear light to sRGB (IEC 61966-2-1), clipped to [0, 1]."""
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def luma(image: torch.Tensor) -> torch.Tensor:
    """(H, W) Rec. 709 weighted sum of the channels."""
    return 0.2126 * image[0] + 0.7152 * image[1] + 0.0722 * image[2]


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """One number from U(low, high), rounded to 6 digits so that a recipe in JSON replays exactly."""
    return round(low + (high - low) * float(torch.rand((), generator=generator)), 6)


def choice(generator: torch.Generator, options: tuple[str, ...]) -> str:
    return options[int(torch.randint(len(options), (), generator=generator))]


def convolve(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """(C, H, W) filtered by a (k, k) kernel, k odd, borders reflected; by FFT, whatever the kernel's size."""
    radius = kernel.shape[-1] // 2
    height, width = image.shape[-2:]
    # reflection needs radius < size; tiny images are padded by repetition instead
    mode = "reflect" if radius < min(height, width) else "replicate"
    padded = F.pad(image[None], (radius,) * 4, mode=mode)[0]
    size = (padded.shape[-2] + 2 * radius, padded.shape[-1] + 2 * radius)
    product = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(kernel, s=size)
    full = torch.fft.irfft2(product, s=size)
    return full[..., 2 * radius : 2 * radius + height, 2 * radius : 2 * radius + width]


def line_kernel(length_px: float, angle_deg: float, width_px: float = 1.0) -> torch.Tensor:
    """(k, k) kernel of sum 1: an anti-aliased straight stroke, angle from the vertical, clockwise."""
    radius = max(1, math.ceil(length_px / 2 + width_px))
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    angle = math.radians(angle_deg)
    along = x * math.sin(angle) - y * math.cos(angle)
    across = x * math.cos(angle) + y * math.sin(angle)
    inside_length = (length_px / 2 + 0.5 - along.abs()).clamp(0, 1)
    inside_width = (width_px / 2 + 0.5 - across.abs()).clamp(0, 1)
    kernel = inside_length * inside_width
    return kernel / kernel.sum()


def disk_kernel(radius_px: float) -> torch.Tensor:
    """(k, k) kernel of sum 1: an anti-aliased disk, the point spread of a defocused lens."""
    radius = max(1, math.ceil(radius_px + 0.5))
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    kernel = (radius_px + 0.5 - torch.sqrt(x * x + y * y)).clamp(0, 1)
    return kernel / kernel.sum()


def gaussian_kernel(sigma_px: float) -> torch.Tensor:
    """(k, k) Gaussian of sum 1, cut at three sigma."""
    radius = max(1, math.ceil(3 * sigma_px))
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32)
    line = torch.exp(-(axis**2) / (2 * sigma_px**2))
    kernel = line[:, None] * line[None, :]
    return kernel / kernel.sum()


def smooth_field(height: int, width: int, cells: int, generator: torch.Generator) -> torch.Tensor:
    """(H, W) smooth random field in [0, 1] with about `cells` bumps along the shorter side."""
    coarse = torch.rand((1, 1, cells + 2, cells + 2), generator=generator)
    field = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)[0, 0]
    return field.clamp(0, 1)
