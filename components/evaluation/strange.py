"""Degradations that neither training nor refinement makes: what is learnt must hold on these too.

Two sets. `second_order` runs our own physics twice over, deeper than any mixture of the training. `third_party` are
the formulae of other toolkits, written anew in numpy from their papers and documentation, in plain sRGB: Hendrycks &
Dietterich 2019 (noise, disk blur, plasma fog, darkness, libjpeg), Kong et al. 2024 (MiOIR's rain). Nothing here shares
code with components/degradations but the first set. Fog, darkness and streaks are formulae that it does not have;
noise, speckle, disk and codec are much the same everywhere, within the ranges of
components/degradations/elsewhere.py.
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image

from components.degradations import recipe as recipes

# two rounds of blur, noise and compression as in Real-ESRGAN
OOD_TYPES = ("blur", "noise", "jpeg", "blur", "noise", "jpeg")
OOD_LEVELS = (0.05, 0.4)


def second_order(clean: np.ndarray, seed: int) -> np.ndarray:
    """(H, W, 3) uint8 degraded by two rounds of blur, noise and JPEG: out of the training's distribution."""
    generator = torch.Generator().manual_seed(seed)
    low, high = OOD_LEVELS
    steps = []
    for kind in OOD_TYPES:
        level = low + (high - low) * float(torch.rand((), generator=generator))
        steps.append(recipes.make_step(kind, level, generator))
    return recipes.apply_recipe(clean, steps)


def third_party(clean: np.ndarray, number: int, seed: int) -> tuple[str, np.ndarray]:
    """The name and the result, (H, W, 3) uint8, of corruption `number` of THIRD_PARTY (they come in turn)."""
    names = list(THIRD_PARTY)
    name = names[number % len(names)]
    random = np.random.default_rng(seed)
    done = THIRD_PARTY[name](clean.astype(np.float64) / 255, random)
    return name, np.clip(done * 255, 0, 255).round().astype(np.uint8)


def _gaussian_noise(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return x + random.normal(0, random.choice([0.08, 0.12, 0.18]), x.shape)


def _shot_noise(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    photons = random.choice([60, 25, 12])
    return random.poisson(x * photons) / photons


def _speckle_noise(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return x + x * random.normal(0, random.choice([0.15, 0.2, 0.35]), x.shape)


def _disk_blur(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    radius = int(random.choice([2, 3, 4]))
    steps = np.arange(-radius, radius + 1)
    disk = (steps[:, None] ** 2 + steps[None] ** 2 <= radius**2).astype(float)
    return _filtered(x, disk / disk.sum())


def _plasma_fog(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    thick, decay = [(1.5, 2.0), (2.0, 2.0), (2.5, 1.7)][int(random.integers(3))]
    side = 1 << math.ceil(math.log2(max(x.shape[:2])))
    fog = thick * _plasma(side, decay, random)[: x.shape[0], : x.shape[1], None]
    return (x + fog) * x.max() / (x.max() + thick)


def _darkness(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    # the value of HSV lowered by a constant: colours keep hue and saturation
    value = x.max(2, keepdims=True)
    return x * np.clip(value - random.choice([0.2, 0.3, 0.4]), 0, 1) / np.maximum(value, 1e-6)


def _streaks(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    amount, length, angle = random.uniform(50, 100), int(random.integers(20, 41)), random.uniform(-45, 45)
    seeds = random.uniform(0, 256, x.shape[:2])
    seeds[seeds < 256 - amount / 10] = 0
    seeds = _filtered(seeds[..., None], np.array([[0, 0.1, 0], [0.1, 8, 0.1], [0, 0.1, 0]]))
    line = Image.fromarray(np.eye(length, dtype=np.float32)).rotate(angle - 45, Image.Resampling.BILINEAR)
    rain = _filtered(seeds, np.asarray(line, dtype=float) / length)
    return x + 0.8 * rain / max(1e-6, rain.max())


def _libjpeg(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    buffer = io.BytesIO()
    picture = Image.fromarray(np.clip(x * 255, 0, 255).astype(np.uint8))
    picture.save(buffer, "JPEG", quality=int(random.choice([25, 18, 15, 10])))
    with Image.open(buffer) as read:
        return np.asarray(read.convert("RGB")) / 255


def _filtered(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(H, W, C) convolved with a kernel (h, w), borders reflected."""
    high, wide = kernel.shape
    padded = np.pad(x, ((high // 2, high - 1 - high // 2), (wide // 2, wide - 1 - wide // 2), (0, 0)), "symmetric")
    shape = padded.shape[:2]
    spectrum = np.fft.rfft2(kernel[::-1, ::-1], shape)[..., None]
    full = np.fft.irfft2(np.fft.rfft2(padded, axes=(0, 1)) * spectrum, shape, axes=(0, 1))
    return full[high - 1 :, wide - 1 :]


def _plasma(side: int, decay: float, random: np.random.Generator) -> np.ndarray:
    """(side, side) in [0, 1]: a field whose amplitude falls by `decay` with every halving of its detail."""
    field, strength, cells = np.zeros((side, side)), 1.0, 2
    while cells <= side:
        coarse = random.uniform(-1, 1, (cells, cells)).astype(np.float32)
        field += strength * np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
        strength, cells = strength / decay, 2 * cells
    return (field - field.min()) / (field.max() - field.min())


THIRD_PARTY = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "speckle_noise": _speckle_noise,
    "disk_blur": _disk_blur,
    "plasma_fog": _plasma_fog,
    "darkness": _darkness,
    "streaks": _streaks,
    "libjpeg": _libjpeg,
}
