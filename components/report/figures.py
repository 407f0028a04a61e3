"""The report's figures as SVG that takes its colours from the page: no library, no font, the same bytes always.

Every function returns markup whose only words are numbers and names of our own; sizes are in the SVG's own units.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from components.report.intervals import Interval

STRIP_WIDTH, STRIP_HEIGHT, STRIP_MARGIN = 240, 30, 6
PANEL, PANEL_MARGIN = 120, 18
SEVERITY_BINS = (0, 20, 40, 60, 80, 100)
# a mean of fewer points says little
LEAST_IN_BIN = 3


class Scale:
    """Values low..high to first..last, both ends included."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self.low, self.span, self.first, self.length = low, (high - low) or 1.0, first, last - first

    def __call__(self, value: float) -> str:
        """Rounded to a tenth, so that no last bit of the arithmetic is in the page."""
        return f"{self.first + self.length * (value - self.low) / self.span:.1f}"


def gain_scale(gains: np.ndarray) -> Scale:
    """One scale for all strips: from the worst to the best pair in whole decibels, 0 always inside."""
    low = min(0, math.floor(gains.min())) if len(gains) else 0
    high = max(1, math.ceil(gains.max())) if len(gains) else 1
    return Scale(low, high, STRIP_MARGIN, STRIP_WIDTH - STRIP_MARGIN)


def gain_strip(gains: np.ndarray, mean: float, interval: Interval | None, scale: Scale, name: str) -> Markup:
    """Every pair of a case as a dot, its mean as a diamond on the interval."""
    middle = STRIP_HEIGHT / 2
    dots = "".join(
        # three lanes, so that equal gains do not hide each other
        f'<circle class="dot" cx="{scale(gain)}" cy="{middle + 5 * (number % 3 - 1):g}" r="2.4"/>'
        for number, gain in enumerate(gains)
    )
    zero = scale(0)
    whisker = ""
    if interval:
        low, high = interval
        whisker = f'<line class="interval" x1="{scale(low)}" x2="{scale(high)}" y1="{middle:g}" y2="{middle:g}"/>'
    x = float(scale(mean))
    diamond = f'<path class="mean" d="M{x - 5:.1f} {middle:g}l5 -5 5 5 -5 5z"/>'
    return Markup(
        f'<svg class="strip" viewBox="0 0 {STRIP_WIDTH} {STRIP_HEIGHT}" role="img" '
        f'aria-label="gain in dB of every pair, {name}: mean {mean:+.2f}">'
        f'<line class="zero" x1="{zero}" x2="{zero}" y1="0" y2="{STRIP_HEIGHT}"/>{dots}{whisker}{diamond}</svg>'
    )


def gain_axis(scale: Scale) -> Markup:
    """The decibels under the strips, at most seven of them."""
    step = next(s for s in (1, 2, 5, 10, 20, 50) if scale.span / s <= 7)
    low, high = int(scale.low), int(scale.low + scale.span)
    ticks = range(math.ceil(low / step) * step, high + 1, step)
    words = "".join(f'<text x="{scale(tick)}" y="12" text-anchor="middle">{tick:+d}</text>' for tick in ticks)
    words = words.replace(">+0<", ">0<")
    return Markup(f'<svg class="strip axis" viewBox="0 0 {STRIP_WIDTH} 16" aria-hidden="true">{words}</svg>')


def severity_panel(points: pd.DataFrame, name: str) -> Markup:
    """True severity to the right, read severity upwards, 0 to 100; the line joins the means of bins of twenty."""
    across = Scale(0, 100, PANEL_MARGIN, PANEL - 4)
    up = Scale(0, 100, PANEL - PANEL_MARGIN, 4)
    dots = "".join(
        f'<circle class="dot" cx="{across(true)}" cy="{up(read)}" r="2"/>'
        for true, read in zip(points["true"], points["read"], strict=True)
    )
    means = []
    for low, high in itertools.pairwise(SEVERITY_BINS):
        inside = points[(points["true"] > low) & (points["true"] <= high)]
        if len(inside) >= LEAST_IN_BIN:
            means.append((float(inside["true"].mean()), float(inside["read"].mean())))
    return Markup(
        f'<svg class="panel" viewBox="0 0 {PANEL} {PANEL}" role="img" aria-label="read over true severity, {name}">'
        f"{_axes(across, up, (0, 50, 100))}{dots}{_line(means, across, up)}</svg>"
    )


def reliability_panel(bins: pd.DataFrame) -> Markup:
    """Said probability to the right, how often it was so upwards, 0 to 1; larger dots stand for more."""
    across, up = Scale(0, 1, PANEL_MARGIN, PANEL - 4), Scale(0, 1, PANEL - PANEL_MARGIN, 4)
    dots = "".join(
        f'<circle class="bin" cx="{across(said)}" cy="{up(happened)}" r="{1.5 + 1.1 * math.log10(n):.1f}">'
        f"<title>{n} times said {said:.2f}, so in {happened:.2f} of them</title></circle>"
        for n, said, happened in bins.itertuples(index=False)
    )
    return Markup(
        f'<svg class="panel" viewBox="0 0 {PANEL} {PANEL}" role="img" '
        f'aria-label="how often a type was there over the probability that was said">'
        f"{_axes(across, up, (0, 0.5, 1))}{dots}</svg>"
    )


def _axes(across: Scale, up: Scale, ticks: Sequence[float]) -> str:
    low, high = ticks[0], ticks[-1]
    frame = (
        f'<path class="frame" d="M{across(low)} {up(high)}V{up(low)}H{across(high)}"/>'
        f'<line class="ideal" x1="{across(low)}" y1="{up(low)}" x2="{across(high)}" y2="{up(high)}"/>'
    )
    words = "".join(
        f'<text x="{across(tick)}" y="{PANEL - PANEL_MARGIN + 11}" '
        f'text-anchor="{"end" if tick == high else "middle"}">{tick:g}</text>'
        f'<text x="{PANEL_MARGIN - 3}" y="{float(up(tick)) + 3:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in ticks
    )
    return frame + words


def _line(points: Sequence[tuple[float, float]], across: Scale, up: Scale) -> str:
    if not points:
        return ""
    path = "L".join(f"{across(x)} {up(y)}" for x, y in points)
    marks = "".join(f'<circle class="knot" cx="{across(x)}" cy="{up(y)}" r="2.6"/>' for x, y in points)
    return f'<path class="means" d="M{path}"/>{marks}'
