"""Blur undone by its physics: a kernel read from the photo's spectrum and from what the diagnosis says of it.

A small network turns the photo's fingerprint (`components/reasoner/spectrum.py`) and the diagnosis into a guess of the
kernel, and `sharpened` applies the linear filter of least error for a kernel that is only guessed. The restorer sees
the result beside the photo and takes what it can use.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from components.degradations.blur import EXTENTS
from components.diagnosis import BLUR_KINDS
from components.reasoner.answer import FACTOR_SCALES
from components.reasoner.spectrum import FINGERPRINT
from components.restorer.conditioning import BLUR_KIND, CONDITION, FACTOR_NAMES, FACTORS

# noise to signal of the two filters: one bold, one careful
NOISE = (0.003, 0.03)
PAD = 32
KINDS = ("none", *BLUR_KINDS)
GUESS = len(KINDS) + 3
# of a guessed extent and angle: relative steps and degrees at which the kernel may as well lie, with their weights
EXTENT_DOUBT, ANGLE_DOUBT = (0.85, 1.0, 1.18), (-6.0, 0.0, 6.0)
DOUBT = (0.25, 0.5, 0.25)
# a shaken hand's path looks like strokes of any direction, shorter than its extent
STROKES, STROKE = 6, 0.6
# where a blur is less likely than this the photo is taken as sharp
LEAST_BLUR = 0.05
_EXTENT, _ANGLE = (FACTORS.start + FACTOR_NAMES.index(("blur", name)) for name in ("extent_px", "angle_deg"))
_LEAST, _MOST = min(low for low, _ in EXTENTS.values()), max(high for _, high in EXTENTS.values())


class Guesser(nn.Module):
    """A guess of the kernel, (B, GUESS), from conditions (B, CONDITION) and fingerprints (B, FINGERPRINT).

    Log-odds of KINDS, the logarithm of the extent in px, and cosine and sine of twice the angle of a motion.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(CONDITION + FINGERPRINT, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, GUESS)
        )

    def forward(self, condition: torch.Tensor, prints: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([condition, prints], 1))


def guess_loss(guess: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """How far guesses (B, GUESS) are from the kernels that true conditions (B, CONDITION) name; a mean over B."""
    told = truth[:, BLUR_KIND]
    blurred = told.sum(1)
    kind = torch.cat([1 - blurred[:, None], told], 1).argmax(1)
    low, high, _ = FACTOR_SCALES["blur", "extent_px"]
    extent = (low + (high - low) * truth[:, _EXTENT]).log()
    low, high, _ = FACTOR_SCALES["blur", "angle_deg"]
    twice = 2 * torch.deg2rad(low + (high - low) * truth[:, _ANGLE])
    moved = (kind == KINDS.index("motion")).float()
    named = F.cross_entropy(guess[:, : len(KINDS)], kind, reduction="none")
    wide = (guess[:, len(KINDS)] - extent).abs() * blurred
    turned = (guess[:, len(KINDS) + 1] - twice.cos()).square() + (guess[:, len(KINDS) + 2] - twice.sin()).square()
    return (named + wide + turned * moved).mean()


def sharpened(image: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
    """(B, 3 * len(NOISE), H, W): what the filters of least error would add to pictures (B, 3, H, W) in [0, 1].

    For a kernel of spectrum K that is known by its probabilities alone, the linear filter of least mean square error
    is conj(E[K]) / (E[|K|^2] + noise / signal) (Wiener; the mean over kernels is taken before the quotient), which
    leaves alone what the possible kernels disagree about. In about linear light (squares), borders reflected.
    """
    added = image.new_zeros(len(image), 3 * len(NOISE), *image.shape[-2:])
    kinds = guess[:, : len(KINDS)].softmax(1)
    blurred = ((1 - kinds[:, 0]) > LEAST_BLUR).nonzero()[:, 0]
    if not len(blurred):
        return added
    own = image[blurred].clamp(0, 1)
    mode = "reflect" if min(own.shape[-2:]) > PAD else "replicate"
    light = F.pad(own, [PAD] * 4, mode=mode).square()
    height, width = light.shape[-2:]
    mean, power = _spectra(kinds[blurred], guess[blurred, len(KINDS) :], height, width)
    seen = torch.fft.rfft2(light) * mean[:, None]
    inside = (..., slice(PAD, height - PAD), slice(PAD, width - PAD))
    for i, noise in enumerate(NOISE):
        found = torch.fft.irfft2(seen * ((1 + noise) / (power + noise))[:, None], s=(height, width))[inside]
        added[blurred, 3 * i : 3 * i + 3] = found.clamp(0, 1).sqrt() - own
    return added


def _spectra(kinds: torch.Tensor, shape: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """E[K] and E[|K|^2], (B, height, width // 2 + 1) each; kernels are symmetric, so K is real."""
    device = kinds.device
    down = torch.fft.fftfreq(height, device=device)[None, :, None]
    right = torch.fft.rfftfreq(width, device=device)[None, None]
    radius = (down.square() + right.square()).sqrt()
    extent = shape[:, 0].exp().clamp(_LEAST, _MOST)[:, None, None]
    angle = 0.5 * torch.atan2(shape[:, 2], shape[:, 1])[:, None, None]
    mean = kinds[:, 0, None, None].expand(-1, height, width // 2 + 1).clone()
    power = mean.clone()

    def take(spectrum: torch.Tensor, share: torch.Tensor | float) -> None:
        weight = share * torch.ones(len(kinds), device=device)
        mean.add_(spectrum * weight[:, None, None])
        power.add_(spectrum.square() * weight[:, None, None])

    def stroke(length: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
        # angles are those of degradations.kernels.line_kernel: from the vertical, clockwise
        return torch.sinc(length * (right * turn.sin() - down * turn.cos()))

    gaussian, defocus, motion, shake = (kinds[:, KINDS.index(kind)] for kind in BLUR_KINDS)
    for step, doubt in zip(EXTENT_DOUBT, DOUBT, strict=True):
        wide = extent * step
        take((-2 * (math.pi * wide / 4 * radius).square()).exp(), gaussian * doubt)
        take(_disk(math.pi * wide * radius), defocus * doubt)
        for turn, doubt_of_turn in zip(ANGLE_DOUBT, DOUBT, strict=True):
            take(stroke(wide, angle + math.radians(turn)), motion * (doubt * doubt_of_turn))
    for i in range(STROKES):
        take(stroke(extent * STROKE, torch.full_like(extent, math.pi * i / STROKES)), shake / STROKES)
    return mean, power


def _disk(x: torch.Tensor) -> torch.Tensor:
    """Spectrum of a disk of sum 1: 2 J1(x) / x, 1 at 0."""
    return torch.where(x > 1e-3, 2 * torch.special.bessel_j1(x) / x.clamp(min=1e-3), torch.ones_like(x))
