"""Sheets to judge the physics by eye: one per degradation, photos in rows, severities in columns.

    rnr synthesize --gallery sheets/

The level that gives a photo the wanted severity is found by bisection; the number in each corner is what was reached.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from components import storage
from components.degradations import severity
from components.degradations.recipe import apply_recipe
from components.diagnosis import TYPES

SEVERITIES = (10, 30, 50, 70, 90)
MARGIN = 4


def sheet(kind: str, photos: list[np.ndarray], seed: int) -> Image.Image:
    """Photos (H, W, 3) uint8 of one size in rows: clean, then the degradation at SEVERITIES."""
    height, width = photos[0].shape[:2]
    columns = len(SEVERITIES) + 1
    size = (columns * (width + MARGIN), len(photos) * (height + MARGIN))
    page = Image.new("RGB", size, "white")
    for row, photo in enumerate(photos):
        cells = [("clean", photo)]
        for wanted in SEVERITIES:
            step, found = severity.step_at(photo, kind, wanted, seed + row)
            cells.append((f"{kind} {found:.0f}", apply_recipe(photo, [step])))
        for column, (label, picture) in enumerate(cells):
            cell = Image.fromarray(picture)
            draw = ImageDraw.Draw(cell)
            draw.rectangle((0, 0, 7 * len(label) + 4, 13), fill="black")
            draw.text((3, 1), label, fill="white")
            page.paste(cell, (column * (width + MARGIN), row * (height + MARGIN)))
    return page


def write_gallery(photos: list[np.ndarray], out: Path, seed: int = 0, quality: int = 90) -> list[Path]:
    """One `<type>.jpg` per degradation in `out`; returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in storage.progress(TYPES, len(TYPES), "sheets"):
        path = out / f"{kind}.jpg"
        with storage.whole_file(path) as part:
            sheet(kind, photos, seed).save(part, "JPEG", quality=quality)
        paths.append(path)
    return paths
