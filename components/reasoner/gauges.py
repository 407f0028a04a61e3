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

import torch
from torch import Tensor
from torch.nn import functional as F

from components import storage
from components.reasoner import measures, pointspread, streaks

SCALE = Path(__file__).with_name("gauges.json")
WINDOW = 192  # px: gauges look at one window of native resolution, and at the whole photo shrunk to it
CHART, BAR_PX = 128, 16  # a chart: two rows of 64 bars, each 1 px wide and 16 px high
CHART_PX = (2 * BAR_PX, CHART // 2)  # height and width of a chart
BARS = 2 * CHART  # gauges, on two charts
PER_PASS = 4  # pictures measured at once: more do not fit the processor's cache
KNOTS, LEAST_STEP = 9, 1e-4


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
    names, table = measures.table(whole, window, found)
    order, low, width = _bars(names)
    parts = ((table[order].T[..., None] - low) / width).clamp(0, 1).mean(-1)
    return F.pad(parts, (0, BARS - len(order))).to(window.device)


@cache
def scale() -> tuple[list[str], Tensor]:
    """Names of the gauges in the order of the bars, and the raw values (n, KNOTS) at which a bar gains a step."""
    table = json.loads(SCALE.read_text(encoding="utf-8"))
    return list(table), torch.tensor(list(table.values()))


@cache
def _bars(names: tuple[str, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Which of the measured names each bar shows (n,), and lower ends and widths (n, KNOTS - 1) of its steps."""
    shown, knots = scale()
    return torch.tensor([names.index(name) for name in shown]), knots[:, :-1], knots[:, 1:] - knots[:, :-1]


def measure(whole: Tensor, window: Tensor, found: Tensor) -> dict[str, Tensor]:
    """The raw gauges by name, (B,) each."""
    names, table = measures.table(whole, window, found)
    return dict(zip(names, table.to(window.device), strict=True))


def fit(pictures: list[Tensor]) -> dict[str, list[float]]:
    """Per gauge KNOTS values between which equally many of the pictures (3, H, W) lie: bars are filled evenly.

    Most pictures have no kernel to speak of, and those that have would share the last step: its gauges have equal
    steps.
    """
    rows = [measure(one[None], one[None], streaks.find(one[None])) for one in pictures]
    shares = torch.linspace(0, 1, KNOTS).clamp(0.005, 0.995)
    table: dict[str, list[float]] = {}
    for name in rows[0]:
        knots = torch.quantile(torch.cat([row[name] for row in rows]), shares).tolist()
        if name in pointspread.COLUMNS:
            knots = torch.linspace(knots[0], knots[-1], KNOTS).tolist()
        for place in range(1, KNOTS):
            knots[place] = max(knots[place], knots[place - 1] + LEAST_STEP)
        table[name] = knots
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the scale of new gauges (gauges.json) to the training pairs")
    parser.add_argument("--pairs", default="data/pairs", help="folder of pair shards")
    args = parser.parse_args()
    # not above: who diagnoses photos need not load pandas
    from components.storage import parquet

    stored = parquet.read_split(args.pairs, "train", ["degraded"])["degraded"]
    pictures = [torch.from_numpy(storage.decode_image(d).copy()).permute(2, 0, 1).float() / 255 for d in stored]
    known = json.loads(SCALE.read_text(encoding="utf-8"))
    # a reasoner that was trained with a scale reads no other
    storage.write_json(SCALE, {name: known.get(name, knots) for name, knots in fit(pictures).items()})


if __name__ == "__main__":
    main()
