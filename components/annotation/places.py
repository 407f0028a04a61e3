"""Where in a picture the evidence of a degradation is strongest: a 3 x 3 grid of measurements, and its name.

Everything is measured in the degraded picture alone, as a person without the clean photo would have to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.diagnosis import DegradationType

GRID = 3
BLOCK_PX = 8  # of JPEG; also the window of the dark channel here
STREAK_PX, FLAKE_PX = 3, 5  # beyond half a streak's and half a flake's width
STANDS_OUT = 12 / 255  # brighter than what is beside it by this much: a stroke or a flake, not grain
# where the place differs from the rest by less than this share of the mean, the evidence is everywhere
LEAST_CONTRAST = 0.15
EVERYWHERE = "everywhere"


def _places() -> dict[str, np.ndarray]:
    """Name -> (3, 3) bool. Words for rows and columns; every place leaves something outside."""
    named = {}
    corners = (
        ("upper left", "top centre", "upper right"),
        ("left", "centre", "right"),
        ("lower left", "bottom centre", "lower right"),
    )
    for row in range(GRID):
        for column in range(GRID):
            mask = np.zeros((GRID, GRID), bool)
            mask[row, column] = True
            named[corners[row][column]] = mask
    for index, (row_name, column_name) in enumerate(
        (("upper edge", "left edge"), ("middle band", "middle column"), ("lower edge", "right edge"))
    ):
        across = np.zeros((GRID, GRID), bool)
        across[index] = True
        named[row_name], named[column_name] = across, across.T
    named["lower two thirds"], named["right two thirds"] = ~named["upper edge"], ~named["left edge"]
    named["upper two thirds"], named["left two thirds"] = ~named["lower edge"], ~named["right edge"]
    named["borders"] = ~named["centre"]
    return named


PLACES = _places()
NAMES = tuple(PLACES)
_MASKS = np.stack([PLACES[name] for name in NAMES]).reshape(len(NAMES), -1)
_INSIDE = _MASKS.sum(1)
_OUTSIDE = GRID * GRID - _INSIDE


@dataclass(frozen=True)
class Place:
    """Where the evidence is strongest, and its mean there and elsewhere (equal when it is everywhere)."""

    name: str
    inside: float
    outside: float


def find(image: np.ndarray, kind: DegradationType) -> Place:
    """The place in an (H, W, 3) uint8 picture, both sides of 24 px at least, where `kind` shows most."""
    return strongest(cells(image, kind))


def strongest(grid: np.ndarray) -> Place:
    """The named place that splits a (3, 3) grid best into more and less (Otsu's between-class variance)."""
    flat = grid.reshape(-1)
    inside = _MASKS @ flat / _INSIDE
    outside = ~_MASKS @ flat / _OUTSIDE
    gain = inside - outside
    score = np.where(gain > 0, _INSIDE * _OUTSIDE * gain**2, 0)
    best = int(score.argmax())
    mean = float(flat.mean())
    if gain[best] <= LEAST_CONTRAST * abs(mean):
        return Place(EVERYWHERE, mean, mean)
    return Place(NAMES[best], float(inside[best]), float(outside[best]))


def cells(image: np.ndarray, kind: DegradationType) -> np.ndarray:
    """(3, 3) of what speaks for `kind`, each value in 0..1:

    haze: dark channel; low_light: darkness; rain, snow: share of pixels that stand out as thin strokes or as specks;
    blur: strongest edges (they are what blur leaves least of); noise: sigma of the diagonal detail; jpeg: steps on
    the 8-pixel grid beyond those beside it.
    """
    if kind == "haze":
        height, width = (side // BLOCK_PX for side in image.shape[:2])
        blocks = image[: height * BLOCK_PX, : width * BLOCK_PX].min(2)
        darkest = blocks.reshape(height, BLOCK_PX, width, BLOCK_PX).min((1, 3))
        return _means(darkest.astype(np.float32)) / 255
    grey = image.astype(np.float32).mean(2) / 255
    if kind == "low_light":
        return 1 - _means(grey)
    if kind == "rain":
        beside = np.maximum(grey[:, : -2 * STREAK_PX], grey[:, 2 * STREAK_PX :])
        return _means(grey[:, STREAK_PX:-STREAK_PX] - beside > STANDS_OUT)
    if kind == "snow":
        inner = grey[FLAKE_PX:-FLAKE_PX, FLAKE_PX:-FLAKE_PX]
        beside = np.maximum(grey[: -2 * FLAKE_PX, FLAKE_PX:-FLAKE_PX], grey[2 * FLAKE_PX :, FLAKE_PX:-FLAKE_PX])
        beside = np.maximum(beside, grey[FLAKE_PX:-FLAKE_PX, : -2 * FLAKE_PX])
        beside = np.maximum(beside, grey[FLAKE_PX:-FLAKE_PX, 2 * FLAKE_PX :])
        return _means(inner - beside > STANDS_OUT)
    if kind == "blur":
        edges = np.abs(grey[1:, :-1] - grey[:-1, :-1]) + np.abs(grey[:-1, 1:] - grey[:-1, :-1])
        return np.array([[np.quantile(cell, 0.9) for cell in row] for row in _cut(edges)])
    if kind == "noise":
        detail = np.abs(grey[:-1, :-1] - grey[1:, :-1] - grey[:-1, 1:] + grey[1:, 1:]) / 2
        return np.array([[np.median(cell) / 0.6745 for cell in row] for row in _cut(detail)])
    excess = []
    for picture in (grey, grey.T):
        step = np.abs(picture[:, 1:] - picture[:, :-1])
        on_grid = step[:, BLOCK_PX - 1 : -1 : BLOCK_PX]
        before, after = (step[:, first::BLOCK_PX][:, : on_grid.shape[1]] for first in (BLOCK_PX - 2, BLOCK_PX))
        here = _means(on_grid) - _means((before + after) / 2)
        excess.append(here if picture is grey else here.T)
    return np.maximum(0, (excess[0] + excess[1]) / 2)


def _cut(values: np.ndarray) -> list[list[np.ndarray]]:
    """An (H, W) array as 3 rows of 3 cells of equal size; a remainder of one or two pixels is left out."""
    height, width = (side // GRID for side in values.shape)
    return [
        [values[row * height : (row + 1) * height, column * width : (column + 1) * width] for column in range(GRID)]
        for row in range(GRID)
    ]


def _means(values: np.ndarray) -> np.ndarray:
    height, width = (side // GRID for side in values.shape)
    cut = values[: height * GRID, : width * GRID].reshape(GRID, height, GRID, width)
    return cut.mean((1, 3), dtype=np.float64)
