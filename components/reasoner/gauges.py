"""Measurements of a photo drawn as a bar chart: the reasoner reads it beside the pictures.

    python -m components.reasoner.gauges --pairs data/pairs      # fits the scale of bars that gauges.json lacks

A small network learns slowly to average over a thousand patches, and does it badly; a gauge does it in a line. Each
bar is one number of the classical literature on blind image quality, on the scale that gauges.json gives it.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from components import storage
from components.annotation.windows import most_near
from components.reasoner import spectrum, streaks

SCALE = Path(__file__).with_name("gauges.json")
WINDOW = 192  # px: gauges look at one window of native resolution, and at the whole photo shrunk to it
CHART, BAR_PX = 128, 16  # a chart: two rows of 64 bars, each 1 px wide and 16 px high
CHART_PX = (2 * BAR_PX, CHART // 2)  # height and width of a chart
BARS = 2 * CHART  # gauges, on two charts
NEAR = 9  # px: local extremes, as the dark channel takes them
SAMPLED = 64  # quantiles are taken over at most SAMPLED^2 pixels
PER_PASS = 4  # pictures measured at once: more do not fit the processor's cache
SCALES = (1, 2, 4, 8)
KNOTS, LEAST_STEP = 9, 1e-4
CELL = 24  # px
BANDS = 6  # of radius, in which directions are compared


def chart(values: Tensor) -> Tensor:
    """(B, 3, 32, 64) in [0, 1]: bars of `values` (B, CHART) in [0, 1], grey on black, their tops antialiased."""
    steps = torch.arange(BAR_PX, device=values.device)
    bars = (values[:, :, None] * BAR_PX - steps).clamp(0, 1)  # (B, CHART, 16): how much of each pixel is lit
    rows = bars.view(len(values), 2, CHART // 2, BAR_PX).flip(-1).permute(0, 1, 3, 2)
    return rows.reshape(len(values), 1, 2 * BAR_PX, CHART // 2).expand(-1, 3, -1, -1)


def read(whole: Tensor, window: Tensor, found: Tensor) -> Tensor:
    """(B, BARS) in [0, 1] of native windows (B, 3, H, W) and the whole photos (B or 1, 3, h, w), all in [0, 1].

    `found` is what `streaks.find` found in the windows.
    """
    names, knots = scale()
    raw = measure(whole, window, found)
    table = torch.stack([raw[name].expand(len(window)) for name in names], 1)[..., None]
    low, high = knots[:, :-1].to(table.device), knots[:, 1:].to(table.device)
    return F.pad(((table - low) / (high - low)).clamp(0, 1).mean(-1), (0, BARS - len(names)))


@cache
def scale() -> tuple[list[str], Tensor]:
    """Names of the gauges in the order of the bars, and the raw values (n, KNOTS) at which a bar gains a step."""
    table = json.loads(SCALE.read_text(encoding="utf-8"))
    return list(table), torch.tensor(list(table.values()))


def measure(whole: Tensor, window: Tensor, found: Tensor) -> dict[str, Tensor]:
    """The raw gauges by name, (B,) or (1,) each."""
    out = _tones(whole) | _structure(window)
    _falling(out, found)
    _blurring(out, window)
    return out


def _tones(rgb: Tensor) -> dict[str, Tensor]:
    """Light and air: how bright, how coloured, how dark the darkest spots, how much contrast near by."""
    out: dict[str, Tensor] = {}
    grey = rgb.mean(1, keepdim=True)
    _quantiles(out, "luma", grey, (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999))
    for channel, name in enumerate(("red", "green", "blue")):
        out[name] = rgb[:, channel].mean((1, 2))
    lightest, darkest = rgb.amax(1, keepdim=True), rgb.amin(1, keepdim=True)
    saturation = (lightest - darkest) / (lightest + 0.02)
    out["saturation"] = saturation.mean((1, 2, 3))
    _quantiles(out, "saturation", saturation, (0.5, 0.9))
    # He et al. 2009
    _quantiles(out, "dark", -most_near(-darkest, NEAR), (0.01, 0.1, 0.5, 0.9))
    _quantiles(out, "bright", most_near(lightest, NEAR), (0.01, 0.5, 0.99))
    span = most_near(grey, NEAR) + most_near(-grey, NEAR)
    _quantiles(out, "span", span, (0.1, 0.5, 0.9))
    _quantiles(out, "relative_span", span / (grey + 0.05), (0.1, 0.5, 0.9))
    return out


def _structure(rgb: Tensor) -> dict[str, Tensor]:
    """Noise, sharpness, thin bright things and the codec's grid, at full, half, quarter and (edges) eighth size."""
    out: dict[str, Tensor] = {}
    for scale in SCALES:
        small = rgb if scale == 1 else F.avg_pool2d(rgb, scale)
        measured: dict[str, Tensor] = {}
        # what is left at an eighth of the size tells how much a wide blur took
        for gauge in (_steepness, _directions, _grain, _hats, _ridges) if scale < SCALES[-1] else (_steepness,):
            gauge(measured, small)
        out |= {f"{name}/{scale}": value for name, value in measured.items()}
    _codec(out, rgb)
    return out


def _grain(out: dict[str, Tensor], rgb: Tensor) -> None:
    """Noise sigma from diagonal detail (Donoho & Johnstone 1994), in grey and in the differences of colours.

    Texture moves all colours together, sensor noise each on its own; noise leaves no block of 8 px flat.
    """
    detail = (rgb[..., :-1, :-1] - rgb[..., 1:, :-1] - rgb[..., :-1, 1:] + rgb[..., 1:, 1:]) / 2
    fields = torch.stack(
        [detail.mean(1), (detail[:, 0] - detail[:, 1]) / 2**0.5, (detail[:, 2] - detail[:, 1]) / 2**0.5], 1
    )
    middle = _quantile(fields.abs(), (0.5,))[..., 0] / 0.6745
    blocks = _sorted(F.avg_pool2d(fields.square(), 8).flatten(2).sqrt())
    floor = blocks[..., blocks.shape[-1] // 10]
    for index, name in enumerate(("grey", "red_green", "blue_green")):
        out[f"grain_{name}"] = _log(middle[:, index])
        out[f"floor_{name}"] = _log(floor[:, index])
    out["detail"] = _log(fields[:, 0].square().mean((1, 2)).sqrt())


def _directions(out: dict[str, Tensor], rgb: Tensor) -> None:
    """Gradient energy by direction, and its kurtosis: few strong edges, or small ones everywhere."""
    grey = rgb.mean(1, keepdim=True)
    xx, yy = (grey[..., 1:] - grey[..., :-1]).square(), (grey[..., 1:, :] - grey[..., :-1, :]).square()
    across, down = _mean(xx), _mean(yy)
    falling = _mean((grey[..., 1:, 1:] - grey[..., :-1, :-1]).square())
    rising = _mean((grey[..., 1:, :-1] - grey[..., :-1, 1:]).square())
    out["across_down"] = _ratio(across, down, 1e-6)
    out["falling_rising"] = _ratio(falling, rising, 1e-6)
    peaked = _mean(xx.square()) / (across.square() + 1e-9) + _mean(yy.square()) / (down.square() + 1e-9)
    out["kurtosis"] = peaked.clamp(min=1).log()


def _steepness(out: dict[str, Tensor], rgb: Tensor) -> None:
    """Gradient energy, and how steep edges are for their height: the blurred ones are not."""
    grey = rgb.mean(1, keepdim=True)
    dx, dy = grey[..., 1:] - grey[..., :-1], grey[..., 1:, :] - grey[..., :-1, :]
    out["gradient"] = _log((_mean(dx.square()) + _mean(dy.square())).sqrt())
    span = most_near(grey, NEAR) + most_near(-grey, NEAR)
    steep = most_near(F.pad(dx.abs(), (0, 1, 0, 0)) + F.pad(dy.abs(), (0, 0, 0, 1)), NEAR) / (span + 0.02)
    step = max(1, grey.shape[-1] // SAMPLED)
    span, steep = (field[..., ::step, ::step].flatten(1) for field in (span, steep))
    # the strongest third of the places: flat ones have no edge to be steep
    strong = span.topk(span.shape[1] // 3, sorted=False).indices
    sorted_steep = _sorted(steep.gather(1, strong))
    for share in (0.1, 0.5, 0.9):
        out[f"steep{share}"] = sorted_steep[:, int(share * (sorted_steep.shape[1] - 1))]


def _hats(out: dict[str, Tensor], rgb: Tensor) -> None:
    """Small bright things against small dark ones (top-hats of 5 px): flakes and drops are bright in all colours."""
    darkest, lightest = rgb.amin(1, keepdim=True), rgb.amax(1, keepdim=True)
    bright = darkest - most_near(-most_near(-darkest, 5), 5)
    dark = -most_near(-most_near(lightest, 5), 5) - lightest
    out["hat_bright"], out["hat_ratio"] = (
        _log(bright.mean((1, 2, 3))),
        _ratio(bright.mean((1, 2, 3)), dark.mean((1, 2, 3)), 1e-4),
    )
    _quantiles(out, "hat_bright", bright, (0.9, 0.99))
    _quantiles(out, "hat_dark", dark, (0.99,))


def _ridges(out: dict[str, Tensor], rgb: Tensor) -> None:
    """Thin lines: strength and direction (moments of the double angle) of bright and dark ridges.

    A ridge is where the Hessian has one strongly negative eigenvalue (Frangi et al. 1998): falling rain is a crowd
    of bright ridges of one direction, texture has as many dark ones.
    """
    grey = rgb.amin(1, keepdim=True)
    smooth = F.avg_pool2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    xx = smooth[..., 1:-1, 2:] + smooth[..., 1:-1, :-2] - 2 * smooth[..., 1:-1, 1:-1]
    yy = smooth[..., 2:, 1:-1] + smooth[..., :-2, 1:-1] - 2 * smooth[..., 1:-1, 1:-1]
    xy = (smooth[..., 2:, 2:] + smooth[..., :-2, :-2] - smooth[..., 2:, :-2] - smooth[..., :-2, 2:]) / 4
    half, apart = (xx + yy) / 2, torch.hypot((xx - yy) / 2, xy)
    # the direction across the ridge: cosine and sine of its double angle
    cosine, sine = (xx - yy) / 2 / (apart + 1e-6), xy / (apart + 1e-6)
    total: dict[str, Tensor] = {}
    for name, strongest, other, sign in (
        ("bright", apart - half, half + apart, -1.0),
        ("dark", apart + half, half - apart, 1.0),
    ):
        ridge = (strongest - other.abs()).clamp(min=0)
        weight = ridge.square()
        total[name] = weight.mean((1, 2, 3)).sqrt()
        share = weight / (weight.sum((1, 2, 3), keepdim=True) + 1e-9)
        c, s = sign * cosine, sign * sine
        for moment, field in (("cos2", c), ("sin2", s)):
            out[f"ridge_{name}_{moment}"] = (share * field).sum((1, 2, 3))
    out["ridge_bright"], out["ridge_ratio"] = _log(total["bright"]), _ratio(total["bright"], total["dark"], 1e-4)


def _falling(out: dict[str, Tensor], found: Tensor) -> None:
    """Rain and snow: bright lines against dark ones and against spots, over all and in cells of 24 px.

    Texture fills some cells with lines of both kinds; what falls adds bright ones to all.
    """
    energies, fourth = found.square(), found.square().square()
    bright, dark, spots = (_mean(energies[:, i : i + 1]) for i in range(3))
    out["streaks_bright"], out["streaks_ratio"] = _log(bright.sqrt()), _ratio(bright, dark, 1e-6)
    out["streaks_spots"], out["streaks_spotted"] = _log(spots.sqrt()), _ratio(spots, bright, 1e-6)
    peaks = [_mean(fourth[:, i : i + 1]) for i in range(3)]
    out["streaks_peaks"], out["streaks_spot_peaks"] = _ratio(peaks[0], peaks[1], 1e-9), (peaks[2] + 1e-9).log10()
    out["streaks_mean"] = _log(_mean(found[:, :1]))
    out["streaks_mean_ratio"] = _ratio(_mean(found[:, :1]), _mean(found[:, 1:2]), 1e-6)
    cells = F.avg_pool2d(energies, CELL)
    for name, above, below, shares in (
        ("streaks_cells", cells[:, 0], cells[:, 1], (0.25, 0.5, 0.75, 0.9)),
        ("streaks_spot_cells", cells[:, 2], cells[:, 0], (0.5, 0.75, 0.9)),
    ):
        ratios = _sorted(_ratio(above, below, 1e-5).flatten(1))
        for share in shares:
            out[f"{name}{share}"] = ratios[:, int(share * (ratios.shape[1] - 1))]


def _blurring(out: dict[str, Tensor], rgb: Tensor) -> None:
    """What is left of each frequency, by radius, and in which directions it is gone.

    Bars stand in the order of their names: these come last, so that the others stay where trained reasoners look.
    """
    read = spectrum.of_each(rgb)
    for radius in range(spectrum.RADII):
        out[f"wavenumber{radius:02}"] = read[:, radius]
    polar = read[:, spectrum.RADII :].unflatten(1, (spectrum.SECTORS, BANDS, -1)).mean(-1)
    for sector in range(spectrum.SECTORS):
        for band in range(BANDS):
            out[f"wavenumber_sector{sector:02}/{band}"] = polar[:, sector, band]


def _codec(out: dict[str, Tensor], rgb: Tensor) -> None:
    """Steps on the 8-px grid over those beside it; how much is perfectly smooth in light and in colour."""
    grey = rgb.mean(1)
    for name, picture in (("columns", grey), ("rows", grey.transpose(1, 2))):
        step = (picture[..., 1:] - picture[..., :-1]).abs().mean(1)
        on, beside = step[:, 7::8].mean(1), torch.cat([step[:, 5::8], step[:, 1::8]], 1).mean(1)
        out[f"grid_{name}"] = (on - beside) / (beside + 1e-3)
    bend = (grey[..., 2:] - 2 * grey[..., 1:-1] + grey[..., :-2]).abs()
    out["smooth_light"] = (bend < 1 / 255).float().mean((1, 2))
    colour = rgb[:, 0] - rgb[:, 1]
    out["smooth_colour"] = ((colour[..., 1:] - colour[..., :-1]).abs() < 1.5 / 255).float().mean((1, 2))


def _quantile(field: Tensor, shares: tuple[float, ...]) -> Tensor:
    """(..., len(shares)) of the last two axes of a field, over a regular sample of its pixels."""
    step = max(1, field.shape[-1] // SAMPLED)
    values = _sorted(field[..., ::step, ::step].flatten(-2))
    places = torch.tensor([round(share * (values.shape[-1] - 1)) for share in shares], device=field.device)
    return values[..., places]


def _sorted(values: Tensor) -> Tensor:
    """The last axis in ascending order; numpy sorts with vector instructions on a processor, torch does not."""
    return values.sort(-1).values if values.is_cuda else torch.from_numpy(np.sort(values.numpy(), axis=-1))


def _quantiles(out: dict[str, Tensor], name: str, field: Tensor, shares: tuple[float, ...]) -> None:
    for share, value in zip(shares, _quantile(field[:, 0], shares).unbind(-1), strict=True):
        out[f"{name}{share}"] = value


def _mean(field: Tensor) -> Tensor:
    """(B,) of (B, 1, H, W)."""
    return field.mean((1, 2, 3))


def _log(value: Tensor) -> Tensor:
    return (value + 1e-4).log10()


def _ratio(a: Tensor, b: Tensor, least: float) -> Tensor:
    return ((a + least) / (b + least)).log10()


def fit(pictures: list[Tensor]) -> dict[str, list[float]]:
    """Per gauge KNOTS values between which equally many of the pictures (3, H, W) lie: bars are filled evenly."""
    rows = [measure(one[None], one[None], streaks.find(one[None])) for one in pictures]
    shares = torch.linspace(0, 1, KNOTS).clamp(0.005, 0.995)
    table: dict[str, list[float]] = {}
    for name in rows[0]:
        knots = torch.quantile(torch.cat([row[name] for row in rows]), shares).tolist()
        for place in range(1, KNOTS):
            knots[place] = max(knots[place], knots[place - 1] + LEAST_STEP)
        table[name] = knots
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the scale of new gauges (gauges.json) to the training pairs")
    parser.add_argument("--pairs", default="data/pairs", help="folder of pair shards")
    args = parser.parse_args()
    stored = storage.read_shards(args.pairs, "train", ["degraded"])["degraded"]
    pictures = [torch.from_numpy(storage.decode_image(d).copy()).permute(2, 0, 1).float() / 255 for d in stored]
    known = json.loads(SCALE.read_text(encoding="utf-8"))
    # a reasoner that was trained with a scale reads no other
    storage.write_json(SCALE, {name: known.get(name, knots) for name, knots in fit(pictures).items()})


if __name__ == "__main__":
    main()
