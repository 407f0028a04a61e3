"""Severity: how much damage one degradation alone does to one photo, from 1 (just visible) to 100.

Damage is the PSNR of the photo with that degradation alone; `calibration.json` maps it to severity, piecewise
linearly between the two ends fitted once per type over the built-in training photos:

    python -m components.degradations.severity --clean data/clean
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch

from components import storage
from components.degradations.recipe import apply_recipe, sample_recipe
from components.diagnosis import TYPES

CALIBRATION = Path(__file__).with_name("calibration.json")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 images; 100 for equal ones."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return 100.0 if error == 0 else float(min(100.0, 10 * np.log10(255**2 / error)))


@cache
def calibration() -> dict[str, dict[str, float]]:
    """Per type the PSNR in dB of severity 1 (`visible`) and of severity 100 (`worst`)."""
    return json.loads(CALIBRATION.read_text(encoding="utf-8"))["psnr_db"]


def severity_of(kind: str, decibels: float) -> float:
    """Severity in [1, 100] of a damage in dB of PSNR, or 0 where nothing can be seen."""
    ends = calibration()[kind]
    share = (ends["visible"] - decibels) / (ends["visible"] - ends["worst"])
    return 0.0 if share < 0 else round(1 + 99 * min(1.0, share), 2)


def measure(clean: np.ndarray, recipe: list[dict], degraded: np.ndarray) -> list[float]:
    """Severity per type, in the order of TYPES, of each step of the recipe applied alone; 0 where absent.

    `degraded` is the result of the whole recipe, which for a single step is already the answer.
    """
    severities = dict.fromkeys(TYPES, 0.0)
    for step in recipe:
        alone = degraded if len(recipe) == 1 else apply_recipe(clean, [step])
        severities[step["type"]] = severity_of(step["type"], psnr(clean, alone))
    return [severities[t] for t in TYPES]


def fit(photos: list[np.ndarray], draws: int) -> dict[str, dict[str, float]]:
    """The ends per type: 2nd and 98th percentile of PSNR over the photos and the whole range of levels."""
    ends: dict[str, dict[str, float]] = {}
    for kind in TYPES:
        generator = torch.Generator().manual_seed(TYPES.index(kind))
        values = []
        for photo in photos:
            for _ in range(draws):
                values.append(psnr(photo, apply_recipe(photo, sample_recipe([kind], generator, least=0.0))))
        visible = float(np.percentile(values, 98))
        ends[kind] = {"visible": round(visible, 2), "worst": round(float(np.percentile(values, 2)), 2)}
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the severity calibration and write calibration.json")
    parser.add_argument("--clean", default="data/clean", help="folder of clean shards")
    parser.add_argument("--draws", type=int, default=12, help="recipes per photo and type")
    args = parser.parse_args()
    rows = storage.read_shards(args.clean, "train", columns=["image"])
    photos = []
    for data in rows["image"]:
        image = storage.decode_image(data)
        top, left = (image.shape[0] - 256) // 2, (image.shape[1] - 256) // 2
        photos.append(image[max(0, top) : top + 256, max(0, left) : left + 256])
    storage.write_json(CALIBRATION, {"psnr_db": fit(photos, args.draws), "photos": len(photos), "draws": args.draws})


if __name__ == "__main__":
    main()
