"""Sensor noise: shot and read noise in raw light through a simple camera pipeline, or Gaussian in sRGB.

camera: white balance undone, noise of variance shot * x + read (Brooks et al. 2019) per colour site, white balance
done again, colours mixed by the camera's matrix, so that dark and red or blue areas are noisier, as they are in real
files. `correlation_px` is the sigma of the smoothing that demosaicing leaves behind.
gaussian: sigma / 255 in sRGB, for comparison with the literature; speckle: sigma times the sRGB value.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from components.degradations.kernels import convolve, gaussian_line
from components.degradations.light import Generators, Params, choice, normal, to_linear, to_srgb, uniform

# how far the camera's colours overlap: the matrix is (1 + 2 m) on its diagonal and -m elsewhere, its rows sum to 1
OVERLAPS = (0.0, 0.3)


def sample(level: float, generator: torch.Generator) -> dict:
    """Parameters at `level` in [0, 1]: shot 3e-4..0.03 with its usual read noise, or sigma 4..52 of 255."""
    model = choice(generator, ("camera", "gaussian"))
    if model == "gaussian":
        return {"model": model, "sigma": round((4 + 48 * level) / 255, 6), "correlation_px": 0.0}
    log_shot = math.log(3e-4) + (math.log(0.03) - math.log(3e-4)) * level
    log_read = 2.18 * log_shot + 1.20 + 0.26 * uniform(generator, -1.5, 1.5)
    return {
        "model": model,
        "shot": float(f"{math.exp(log_shot):.6g}"),
        "read": float(f"{min(0.01, math.exp(log_read)):.6g}"),
        "red_gain": uniform(generator, 1.2, 2.4),
        "blue_gain": uniform(generator, 1.2, 2.2),
        "overlap": uniform(generator, *OVERLAPS),
        "correlation_px": float(choice(generator, ("0", "0", "0.6"))),
    }


def apply(images: Tensor, params: Params, generators: Generators, depth: Tensor | None = None) -> Tensor:
    """(B, 3, H, W) in [0, 1], noisy; depth does not matter."""
    grain = normal(images.shape[1:], generators).to(images.device)
    rows = []
    for image, own, p in zip(images, grain, params, strict=True):
        if p["correlation_px"]:
            line = gaussian_line(p["correlation_px"])
            # smoothed, and as strong as before
            line = line / line.square().sum().sqrt()
            own = convolve(convolve(own[None], [line[:, None]]), [line[None]])[0]
        if p["model"] == "camera":
            rows.append(_camera(image, own, p))
            continue
        strength = own.mul_(p["sigma"])
        rows.append((strength.mul_(image) if p["model"] == "speckle" else strength).add_(image))
    return torch.stack(rows) if len(rows) > 1 else rows[0][None]


def _camera(image: Tensor, grain: Tensor, params: dict) -> Tensor:
    """(3, H, W) with the noise of raw light; `grain` is used up."""
    gains = torch.tensor([params["red_gain"], 1.0, params["blue_gain"]], device=image.device)[:, None, None]
    light = to_linear(image)
    # sqrt(shot * light / gain + read) * gain
    noise = grain.mul_((light * (params["shot"] * gains)).add_(params["read"] * gains * gains).sqrt_())
    if params["overlap"]:
        # the matrix takes camera colours to sRGB; the signal went there and back, the noise only there
        mean = (noise[0] + noise[1] + noise[2]) / 3
        noise = noise + 3 * params["overlap"] * (noise - mean)
    return to_srgb(light.add_(noise))


def factors(params: dict) -> dict[str, float]:
    """Shot gain and read variance; noise in sRGB counts as read noise at mid grey."""
    if params["model"] != "camera":
        # slope of sRGB -> linear at mid grey 0.5 is about 0.99
        share = {"gaussian": 1.0, "speckle": 0.5}[params["model"]]
        return {"shot": 0.0, "read": (0.99 * share * params["sigma"]) ** 2}
    return {"shot": params["shot"], "read": params["read"]}
