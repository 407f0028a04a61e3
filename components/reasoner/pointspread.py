"""The kernel that explains a photo's spectrum best: Gaussian, defocus or straight motion, its extent and its angle.

    from components.reasoner import pointspread
    found = pointspread.fit(windows)      # windows: (N, 3, s, s) in [0, 1]; `found.columns()`: the numbers

A photo's power spectrum is that of its scene, times that of the kernel, plus noise: P = A (|K|^2 + n). Scenes fall
off smoothly (Field 1987), so the logarithm of A is taken as a parabola in the logarithm of the frequency, with
directions; what such a surface explains is taken out of log P and out of log(|K|^2 + n) for a grid of kernels and
noises, and the nearest in the sense of least squares is the answer. No photo taught it anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from components.degradations.blur import EXTENTS
from components.reasoner import spectrum

# a shaken hand's path has no shape of its own
KINDS = ("gaussian", "defocus", "motion")
EXTENT_STEPS, TURNS = 20, 24  # of the grid: extents, equally spaced in the logarithm, and angles of a motion
# noise to signal at a quarter of the sampling frequency; the signal falls with the square of the frequency
NOISES = (1e-4, 2e-3, 4e-2)
POOL = 2  # bins across and down whose mean power is one value
LOWEST, HIGHEST = 0.025, 0.48  # of the sampling frequency: what the taper leaks into, and corners, are left out
LEAST_POWER = 1e-12
DAMAGES = (-5.0, -1.0)  # decimal logarithms of mean square errors: from what nobody sees to what blur can do
BANKS = 2  # sizes of windows whose grids are kept
COLUMNS = (
    *(f"width_{kind}" for kind in KINDS),
    *(f"width_gain_{kind}" for kind in KINDS),
    *(f"width_{name}" for name in ("cos2", "sin2", "left", "damage")),
)


@dataclass(frozen=True)
class Fit:
    """The best kernel of each of KINDS for N photos.

    `extents` (N, KINDS) in px as `blur.sample` has them, `angles` (N,) in degrees of the motion, from the vertical,
    clockwise; `gains` (N, KINDS): natural logarithm of how much less is left unexplained than without any kernel;
    `left` (N,): logarithm of what the best leaves unexplained, a mean square of logarithms; `damage` (N,): decimal
    logarithm of the mean square error in sRGB that the best kernel did, judged by the scene's fitted spectrum.
    """

    extents: Tensor
    angles: Tensor
    gains: Tensor
    left: Tensor
    damage: Tensor

    def columns(self) -> Tensor:
        """(N, COLUMNS): logarithms of the extents, gains, cosine and sine of twice the angle, left, damage."""
        twice = 2 * torch.deg2rad(self.angles)
        rest = torch.stack([twice.cos(), twice.sin(), self.left, self.damage], 1)
        return torch.cat([self.extents.log(), self.gains, rest], 1)


def of_each(windows: Tensor) -> Tensor:
    """(N, COLUMNS) of windows (N, 3, H, W), each by itself: its largest square; 0 below `spectrum.LEAST_SIDE`."""
    side = min(windows.shape[-2:]) // 16 * 16
    if side < spectrum.LEAST_SIDE:
        return torch.zeros(len(windows), len(COLUMNS))
    return fit(windows[..., :side, :side]).columns()


def fit(windows: Tensor, together: bool = False) -> Fit:
    """What fits windows (N, 3, s, s) in [0, 1], s even: each by itself, or all as parts of one photo (N becomes 1)."""
    light = windows.clamp(0, 1).square().mean(1)  # about linear
    faded, energy = (part.to(light.device) for part in spectrum.taper(light.shape[-1]))
    level = light.mean((1, 2))
    power = torch.fft.rfft2((light - level[:, None, None]) * faded).abs().square() / energy
    if together:
        power, level = power.mean(0, keepdim=True), level.mean(0, keepdim=True)
    return _of_power(power, level)


def _of_power(power: Tensor, level: Tensor) -> Fit:
    """Fits of powers by frequency (N, s, s // 2 + 1) of photos of mean light `level` (N,)."""
    bank = _bank(power.shape[-2])
    seen = (_pooled(power)[:, bank.kept.to(power.device)] + LEAST_POWER).log().cpu()
    flat = seen - (seen @ bank.smooth) @ bank.smooth.T
    # |y - t|^2 of every kernel and noise
    own = flat.square().sum(1)
    rest = (own[:, None] - 2 * flat @ bank.templates.T + bank.squares).clamp(min=1e-6)
    none = rest[:, : len(NOISES)].amin(1)
    extents, gains, angles, best = [], [], torch.zeros(len(flat)), none.clone()
    spectra, noise = torch.ones_like(seen), torch.full((len(seen),), NOISES[0])
    start = len(NOISES)
    for kind in KINDS:
        turns = TURNS if kind == "motion" else 1
        count = len(NOISES) * EXTENT_STEPS * turns
        table = rest[:, start : start + count].view(-1, len(NOISES), EXTENT_STEPS, turns)
        start += count
        extent, angle, noisy, least = _lowest(table, kind)
        extents.append(extent)
        gains.append((none / least).log())
        if kind == "motion":
            angles = angle
        better = least < best
        spectra[better] = transfer(kind, extent[better], angle[better], bank.down, bank.right)
        noise[better] = noisy[better]
        best = torch.minimum(least, best)
    return Fit(
        torch.stack(extents, 1),
        angles,
        torch.stack(gains, 1),
        (best / flat.shape[1]).log(),
        _damage(seen, spectra, noise, bank, level.cpu()),
    )


def _lowest(table: Tensor, kind: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Extent in px, angle in degrees, noise and value (N,) where tables (N, NOISES, EXTENT_STEPS, turns) are lowest.

    Between the grid's points a parabola is laid through three neighbours, along each axis.
    """
    size, _, steps, turns = table.shape
    place = table.flatten(1).argmin(1)
    noise, step, turn = place // (steps * turns), place // turns % steps, place % turns
    rows = torch.arange(size)
    here = table[rows, noise, step, turn]
    inner = step.clamp(1, steps - 2)
    along = [table[rows, noise, inner + shift, turn] for shift in (-1, 0, 1)]
    offset, drop = _vertex(*along)
    low, high = EXTENTS[kind]
    extent = low * torch.exp((inner + offset) / (steps - 1) * math.log(high / low))
    noisy, least = torch.tensor(NOISES)[noise], torch.minimum(here, along[1] - drop)
    if turns == 1:
        return extent, torch.zeros(size), noisy, least.clamp(min=1e-6)
    around = [table[rows, noise, step, (turn + shift) % turns] for shift in (-1, 0, 1)]
    turned, more = _vertex(*around)
    angle = _angles()[turn] + turned * 180 / turns
    angle = (angle + 90) % 180 - 90
    return extent, angle, noisy, (least - more).clamp(min=1e-6)


def _vertex(before: Tensor, here: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Where, in steps of -1..1, the parabola through three neighbours is lowest, and by how much lower than `here`."""
    bend = (before - 2 * here + after).clamp(min=1e-6)
    offset = (0.5 * (before - after) / bend).clamp(-1, 1)
    return offset, (0.5 * (before - after) * offset - 0.5 * bend * offset.square()).clamp(min=0)


def _damage(seen: Tensor, spectra: Tensor, noise: Tensor, bank: _Bank, level: Tensor) -> Tensor:
    """(N,) decimal logarithm of the mean square error in sRGB that kernels of `spectra` (N, n) did, beside `noise`."""
    # the scene as a smooth surface: what was seen, less what the kernel did to it
    explained = (spectra.square() + noise[:, None] * (bank.down.square() + bank.right.square()) / 0.25**2).log()
    scene = ((seen - explained) @ bank.smooth) @ bank.smooth.T
    lost = (scene.clamp(max=10).exp() * (1 - spectra).square()).mean(1)
    # light is about the square of sRGB: d(x^2) = 2 x dx
    return (lost / (4 * level + 0.01)).log10().clamp(*DAMAGES)


@dataclass(frozen=True)
class _Bank:
    """Templates of a size of window: `kept` (h, w) bools of pooled bins, their frequencies `down` and `right` (n,),
    the smooth surfaces (n, k) of a scene, orthonormal, and the templates (T, n) less what these explain, with their
    sums of squares (T,)."""

    kept: Tensor
    down: Tensor
    right: Tensor
    smooth: Tensor
    templates: Tensor
    squares: Tensor


@lru_cache(maxsize=BANKS)
def _bank(side: int) -> _Bank:
    down = _pooled(torch.fft.fftfreq(side)[None, :, None].expand(1, -1, side // 2 + 1))[0]
    right = _pooled(torch.fft.rfftfreq(side)[None, None].expand(1, side, -1))[0]
    radius = (down.square() + right.square()).sqrt()
    kept = (radius > LOWEST) & (radius < HIGHEST)
    down, right, radius = down[kept], right[kept], radius[kept]
    angle, steep = torch.atan2(down, right), radius.log()
    waves = [wave(order * angle) for order in (2, 4) for wave in (torch.cos, torch.sin)]
    surfaces = torch.stack([torch.ones_like(steep), steep, steep.square(), *waves], 1)
    smooth = torch.linalg.qr(surfaces.double())[0].float()
    powers = [torch.zeros(1, len(radius))]
    for kind in KINDS:
        angles = _angles() if kind == "motion" else torch.zeros(1)
        extents = _extents(kind).repeat_interleave(len(angles))
        powers.append(transfer(kind, extents, angles.repeat(EXTENT_STEPS), down, right).square())
    powers[0] += 1
    noise = [(noise * (radius / 0.25).square()) for noise in NOISES]
    templates = torch.cat([torch.cat([(power + n).log() for n in noise]) for power in powers])
    templates -= (templates @ smooth) @ smooth.T
    return _Bank(kept, down, right, smooth, templates, templates.square().sum(1))


def _extents(kind: str) -> Tensor:
    return torch.from_numpy(np.geomspace(*EXTENTS[kind], EXTENT_STEPS)).float()


def _angles() -> Tensor:
    return torch.arange(TURNS) * (180 / TURNS) - 90


def transfer(kind: str, extents: Tensor, angles: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Spectra (N, ...) of kernels of one of KINDS: `extents` in px and `angles` in degrees (N,), at frequencies `down`
    and `right` (...) in cycles per px. Kernels are symmetric, so these are real."""
    shape = (-1, *[1] * down.ndim)
    extents, angles = extents.view(shape), torch.deg2rad(angles).view(shape)
    radius = (down.square() + right.square()).sqrt()
    if kind == "gaussian":
        return (-2 * (math.pi * extents / 4 * radius).square()).exp()
    if kind == "defocus":
        return _disk(math.pi * extents * radius)
    along = right * angles.sin() - down * angles.cos()
    return torch.sinc(extents * along)


def _disk(x: Tensor) -> Tensor:
    """Spectrum of a disk of sum 1: 2 J1(x) / x, 1 at 0."""
    return torch.where(x > 1e-3, 2 * torch.special.bessel_j1(x) / x.clamp(min=1e-3), torch.ones_like(x))


def _pooled(power: Tensor) -> Tensor:
    """(N, s / POOL, s / 2 / POOL) means of (N, s, s // 2 + 1), the column of no horizontal change left out."""
    size, side, _ = power.shape
    inner = power[:, :, 1 : 1 + side // 2 // POOL * POOL]
    return inner.reshape(size, side // POOL, POOL, -1, POOL).mean((2, 4))
