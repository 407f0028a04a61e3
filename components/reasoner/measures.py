"""The raw measurements of a photo behind the reasoner's gauges, by name: light and air, edges, grain, lines, codec.

Each is one number of the classical literature on blind image quality. All are taken with the bits with which the
pretrained reasoner learnt to read them: sums in torch's order, and torch's roots and logarithms.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from components.reasoner import fields, pointspread, spectrum
from components.reasoner.fields import Field

NEAR = 9  # px: local extremes, as the dark channel takes them
SAMPLED = 64  # quantiles are taken over at most SAMPLED^2 pixels
SCALES = (1, 2, 4, 8)
CELL = 24  # px
BANDS = 6  # of radius, in which directions are compared
WAVENUMBERS = (
    *(f"wavenumber{radius:02}" for radius in range(spectrum.RADII)),
    *(f"wavenumber_sector{sector:02}/{band}" for sector in range(spectrum.SECTORS) for band in range(BANDS)),
)


class Raw:
    """Raw gauges as they are measured, (B,) or (1,) each: some are yet to be taken the decimal logarithm of."""

    def __init__(self) -> None:
        self.plain: dict[str, Field] = {}
        self.powers: dict[str, Field] = {}

    def root(self, name: str, square: Field) -> None:
        """The logarithm of the root of a mean square."""
        self.power(name, roots(square))

    def power(self, name: str, value: Field) -> None:
        self.powers[name] = value + np.float32(1e-4)

    def ratio(self, name: str, a: Field, b: Field, least: float) -> None:
        self.powers[name] = (a + np.float32(least)) / (b + np.float32(least))

    def quantiles(self, name: str, field: Field, shares: tuple[float, ...]) -> None:
        """Of fields (B, h, w) already sampled."""
        for share, value in zip(shares, quantiles(field, shares), strict=True):
            self.plain[f"{name}{share}"] = value


def table(whole: Tensor, window: Tensor, found: Tensor) -> tuple[tuple[str, ...], Tensor]:
    """Names of the gauges, and the raw ones (n, B) on the processor: measured by numpy, whose calls cost less."""
    raw, size = Raw(), len(window)
    _tones(raw, whole.detach().cpu())
    _structure(raw, window.detach().cpu())
    _falling(raw, found.detach().cpu())
    names, spectra = _blurring(window.detach().cpu())
    measured = np.empty((len(raw.plain) + len(raw.powers), size), np.float32)
    for row, value in enumerate((*raw.plain.values(), *raw.powers.values())):
        measured[row] = value
    plain, powers = torch.from_numpy(measured).split([len(raw.plain), len(raw.powers)])
    return (*raw.plain, *raw.powers, *names), torch.cat([plain, powers.log10(), spectra])


def _tones(raw: Raw, whole: Tensor) -> None:
    """Light and air: how bright, how coloured, how dark the darkest spots, how much contrast near by."""
    rgb = whole.numpy()
    step = _step(rgb)
    grey = fields.grey(rgb)
    raw.quantiles("luma", _sampled(grey), (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999))
    for channel, name in enumerate(("red", "green", "blue")):
        raw.plain[name] = whole[:, channel].mean((1, 2)).numpy()
    lightest, darkest = fields.lightest(rgb), fields.darkest(rgb)
    saturation = lightest - darkest
    saturation /= lightest + np.float32(0.02)
    raw.plain["saturation"] = fields.mean(saturation)
    raw.quantiles("saturation", _sampled(saturation), (0.5, 0.9))
    # He et al. 2009
    raw.quantiles("dark", fields.least_near(darkest, NEAR, step), (0.01, 0.1, 0.5, 0.9))
    raw.quantiles("bright", fields.most_near(lightest, NEAR, step), (0.01, 0.5, 0.99))
    span = fields.most_near(grey, NEAR, step) - fields.least_near(grey, NEAR, step)
    raw.quantiles("span", span, (0.1, 0.5, 0.9))
    raw.quantiles("relative_span", span / (_sampled(grey) + np.float32(0.05)), (0.1, 0.5, 0.9))


def _structure(raw: Raw, window: Tensor) -> None:
    """Noise, sharpness, thin bright things and the codec's grid, at full, half, quarter and (edges) eighth size."""
    for scale in SCALES:
        if scale <= 2:
            rgb = window.numpy() if scale == 1 else fields.halved(window.numpy())
        else:
            rgb = F.avg_pool2d(window, scale).numpy()
        grey = fields.grey(rgb)
        dx, dy = grey[..., 1:] - grey[..., :-1], grey[:, 1:] - grey[:, :-1]
        squares = dx * dx, dy * dy
        energy = fields.mean(squares[0]), fields.mean(squares[1])
        if scale < SCALES[-1]:
            _directions(raw, f"/{scale}", grey, squares, energy)
            _grain(raw, f"/{scale}", rgb)
            _hats(raw, f"/{scale}", fields.darkest(rgb), fields.lightest(rgb))
            _ridges(raw, f"/{scale}", fields.darkest(rgb))
        np.abs(dx, out=dx)
        np.abs(dy, out=dy)
        # what is left at an eighth of the size tells how much a wide blur took
        _steepness(raw, f"/{scale}", grey, dx, dy, energy)
        if scale == 1:
            _codec(raw, rgb, grey, dx, dy)


def _steepness(raw: Raw, at: str, grey: Field, dx: Field, dy: Field, energy: tuple[Field, Field]) -> None:
    """Gradient energy, and how steep edges are for their height: the blurred ones are not.

    dx, dy are absolute.
    """
    raw.root(f"gradient{at}", energy[0] + energy[1])
    step = _step(grey)
    span = fields.most_near(grey, NEAR, step) - fields.least_near(grey, NEAR, step)
    slope = np.zeros_like(grey)
    slope[..., :-1] = dx
    slope[:, :-1] += dy
    steep = fields.most_near(slope, NEAR, step) / (span + np.float32(0.02))
    # the strongest third of the places: flat ones have no edge to be steep
    flat = torch.from_numpy(span).flatten(1)
    strong = flat.topk(flat.shape[1] // 3, sorted=False).indices
    chosen = torch.from_numpy(steep).flatten(1).gather(1, strong).numpy()
    shares = (0.1, 0.5, 0.9)
    places = [int(share * (chosen.shape[1] - 1)) for share in shares]
    for share, value in zip(shares, fields.quantiles(chosen, places), strict=True):
        raw.plain[f"steep{share}{at}"] = value


def _directions(raw: Raw, at: str, grey: Field, squares: tuple[Field, Field], energy: tuple[Field, Field]) -> None:
    """Gradient energy by direction, and its kurtosis: few strong edges, or small ones everywhere."""
    (across, down), (xx, yy) = energy, squares
    falling, rising = grey[:, 1:, 1:] - grey[:, :-1, :-1], grey[:, 1:, :-1] - grey[:, :-1, 1:]
    falling *= falling
    rising *= rising
    raw.ratio(f"across_down{at}", across, down, 1e-6)
    raw.ratio(f"falling_rising{at}", fields.mean(falling), fields.mean(rising), 1e-6)
    least = np.float32(1e-9)
    peaked = fields.mean(xx * xx) / (across * across + least) + fields.mean(yy * yy) / (down * down + least)
    raw.plain[f"kurtosis{at}"] = torch.from_numpy(peaked).clamp(min=1).log().numpy()


def _grain(raw: Raw, at: str, rgb: Field) -> None:
    """Noise sigma from diagonal detail (Donoho & Johnstone 1994), in grey and in the differences of colours.

    Texture moves all colours together, sensor noise each on its own; noise leaves no block of 8 px flat.
    """
    detail = rgb[..., :-1, :-1] - rgb[..., 1:, :-1]
    detail -= rgb[..., :-1, 1:]
    detail += rgb[..., 1:, 1:]
    detail *= np.float32(0.5)
    root = np.float32(2**0.5)
    grains = {
        "grey": fields.grey(detail),
        "red_green": (detail[:, 0] - detail[:, 1]) / root,
        "blue_green": (detail[:, 2] - detail[:, 1]) / root,
    }
    for name, field in grains.items():
        middle = quantiles(np.abs(_sampled(field)), (0.5,))[0] / np.float32(0.6745)
        raw.power(f"grain_{name}{at}", middle)
        field *= field
        blocks = F.avg_pool2d(torch.from_numpy(field), 8).flatten(1).sqrt_().numpy()
        raw.power(f"floor_{name}{at}", fields.quantiles(blocks, [blocks.shape[1] // 10])[0])
    raw.root(f"detail{at}", fields.mean(grains["grey"]))


def _hats(raw: Raw, at: str, darkest: Field, lightest: Field) -> None:
    """Small bright things against small dark ones (top-hats of 5 px): flakes and drops are bright in all colours."""
    bright = darkest - fields.most_near(fields.least_near(darkest, 5), 5)
    dark = fields.least_near(fields.most_near(lightest, 5), 5) - lightest
    means = fields.mean(bright), fields.mean(dark)
    raw.power(f"hat_bright{at}", means[0])
    raw.ratio(f"hat_ratio{at}", *means, 1e-4)
    for name, field, shares in (("bright", bright, (0.9, 0.99)), ("dark", dark, (0.99,))):
        for share, value in zip(shares, quantiles(_sampled(field), shares), strict=True):
            raw.plain[f"hat_{name}{share}{at}"] = value


def _ridges(raw: Raw, at: str, darkest: Field) -> None:
    """Thin lines: strength and direction (moments of the double angle) of bright and dark ridges.

    A ridge is where the Hessian has one strongly negative eigenvalue (Frangi et al. 1998): falling rain is a crowd
    of bright ridges of one direction, texture has as many dark ones.
    """
    smooth = fields.mean_of_nine(darkest)
    twice = smooth[:, 1:-1, 1:-1] * np.float32(2)
    xx = smooth[:, 1:-1, 2:] + smooth[:, 1:-1, :-2]
    xx -= twice
    yy = smooth[:, 2:, 1:-1] + smooth[:, :-2, 1:-1]
    yy -= twice
    xy = smooth[:, 2:, 2:] + smooth[:, :-2, :-2]
    xy -= smooth[:, 2:, :-2]
    xy -= smooth[:, :-2, 2:]
    xy *= np.float32(0.25)
    half, slant = (xx + yy) * np.float32(0.5), np.subtract(xx, yy, out=xx)
    slant *= np.float32(0.5)
    apart = torch.hypot(torch.from_numpy(slant), torch.from_numpy(xy)).numpy()
    # the direction across the ridge: cosine and sine of its double angle
    least = apart + np.float32(1e-6)
    cosine, sine = np.divide(slant, least, out=slant), np.divide(xy, least, out=xy)
    total: dict[str, Field] = {}
    apart_less, apart_more = apart - half, apart + half
    for name, strongest, other in (("bright", apart_less, apart_more), ("dark", apart_more, apart_less)):
        ridge = strongest - np.abs(other)
        np.maximum(ridge, 0, out=ridge)
        ridge *= ridge
        total[name] = roots(fields.mean(ridge))
        ridge /= torch.from_numpy(ridge).sum((1, 2), keepdim=True).numpy() + np.float32(1e-9)
        for moment, field in (("cos2", cosine), ("sin2", sine)):
            value = torch.from_numpy(ridge * field).sum((1, 2)).numpy()
            raw.plain[f"ridge_{name}_{moment}{at}"] = -value if name == "bright" else value
    raw.power(f"ridge_bright{at}", total["bright"])
    raw.ratio(f"ridge_ratio{at}", total["bright"], total["dark"], 1e-4)


def _falling(raw: Raw, found: Tensor) -> None:
    """Rain and snow: bright lines against dark ones and against spots, over all and in cells of 24 px.

    Texture fills some cells with lines of both kinds; what falls adds bright ones to all.
    """
    energies = found.square()
    fourth = energies.square()
    bright, dark, spots = (energies[:, i].mean((1, 2)).numpy() for i in range(3))
    raw.root("streaks_bright", bright)
    raw.ratio("streaks_ratio", bright, dark, 1e-6)
    raw.root("streaks_spots", spots)
    raw.ratio("streaks_spotted", spots, bright, 1e-6)
    peaks = [fourth[:, i].mean((1, 2)).numpy() for i in range(3)]
    raw.ratio("streaks_peaks", peaks[0], peaks[1], 1e-9)
    raw.powers["streaks_spot_peaks"] = peaks[2] + np.float32(1e-9)
    lines = [found[:, i].mean((1, 2)).numpy() for i in range(2)]
    raw.power("streaks_mean", lines[0])
    raw.ratio("streaks_mean_ratio", lines[0], lines[1], 1e-6)
    cells = F.avg_pool2d(energies, CELL).flatten(2).numpy() + np.float32(1e-5)
    for name, above, below, shares in (
        ("streaks_cells", cells[:, 0], cells[:, 1], (0.25, 0.5, 0.75, 0.9)),
        ("streaks_spot_cells", cells[:, 2], cells[:, 0], (0.5, 0.75, 0.9)),
    ):
        ratios = np.sort(above / below, axis=-1)
        for share in shares:
            raw.powers[f"{name}{share}"] = ratios[:, int(share * (ratios.shape[1] - 1))]


def _blurring(rgb: Tensor) -> tuple[tuple[str, ...], Tensor]:
    """What is left of each frequency, by radius, in which directions it is gone, and what kernel would explain it:
    names, and gauges (n, B)."""
    read = spectrum.of_each(rgb)
    polar = read[:, spectrum.RADII :].unflatten(1, (spectrum.SECTORS, BANDS, -1)).mean(-1)
    kernel = pointspread.of_each(rgb)
    return WAVENUMBERS + pointspread.COLUMNS, torch.cat([read[:, : spectrum.RADII], polar.flatten(1), kernel], 1).T


def _codec(raw: Raw, rgb: Field, grey: Field, dx: Field, dy: Field) -> None:
    """Steps on the 8-px grid over those beside it; how much is perfectly smooth in light and in colour.

    dx, dy are the absolute differences of grey.
    """
    for name, steps in (
        ("columns", torch.from_numpy(dx).mean(1)),
        ("rows", torch.from_numpy(dy).mean(2)),
    ):
        on, beside = steps[:, 7::8].mean(1), torch.cat([steps[:, 5::8], steps[:, 1::8]], 1).mean(1)
        raw.plain[f"grid_{name}"] = ((on - beside) / (beside + 1e-3)).numpy()
    bend = grey[..., 2:] - grey[..., 1:-1] * np.float32(2)
    bend += grey[..., :-2]
    colour = rgb[:, 0] - rgb[:, 1]
    change = colour[..., 1:] - colour[..., :-1]
    for name, field, least in (("light", bend, 1 / 255), ("colour", change, 1.5 / 255)):
        smooth = np.abs(field, out=field) < np.float32(least)
        count = np.count_nonzero(smooth, axis=(1, 2)).astype(np.float32)
        raw.plain[f"smooth_{name}"] = count / np.float32(smooth[0].size)


def roots(values: Field) -> Field:
    """Square roots as torch takes them, which rounds some otherwise than numpy."""
    return torch.from_numpy(values).sqrt().numpy()


def _step(field: Field) -> int:
    """Every how many-th pixel across and down is sampled."""
    return max(1, field.shape[-1] // SAMPLED)


def _sampled(field: Field) -> Field:
    """(..., h, w): a regular sample of the pixels."""
    step = _step(field)
    return field[..., ::step, ::step]


def quantiles(sample: Field, shares: tuple[float, ...]) -> list[Field]:
    """One (B,) a share, of fields (B, h, w)."""
    flat = sample.reshape(len(sample), -1)
    return fields.quantiles(flat, [round(share * (flat.shape[1] - 1)) for share in shares])
