"""Severity: how much damage one degradation alone does to one photo, from 1 (just visible) to 100.

Damage is the PSNR of the photo with that degradation alone; `calibration.json` maps it to severity, piecewise
linearly between the two ends fitted once per type over the built-in training photos:

    python -m components.degradations.severity --clean data/clean                   (fits)
    python -m components.degradations.severity --clean data/clean --plot docs/severity.png
"""

from __future__ import annotations

import argparse
import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import torch

from components import storage
from components.degradations.recipe import apply_recipe, make_step, sample_recipe
from components.diagnosis import TYPES
from components.storage import parquet

CALIBRATION = Path(__file__).with_name("calibration.json")
BISECTIONS = 9
PLOT_LEVELS = tuple(i / 10 for i in range(11))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 images; 100 for equal ones."""
    # in integers: the sum does not depend on the order of adding
    difference = a.astype(np.int32) - b.astype(np.int32)
    error = int((difference * difference).sum(dtype=np.int64)) / difference.size
    return 100.0 if error == 0 else min(100.0, 10 * math.log10(255**2 / error))


@cache
def calibration() -> dict[str, dict[str, float]]:
    """Per type the PSNR in dB of severity 1 (`visible`) and of severity 100 (`worst`)."""
    return json.loads(CALIBRATION.read_text(encoding="utf-8"))["psnr_db"]


def severity_of(kind: str, decibels: float) -> float:
    """Severity in [1, 100] of a damage in dB of PSNR, or 0 where nothing can be seen."""
    ends = calibration()[kind]
    share = (ends["visible"] - decibels) / (ends["visible"] - ends["worst"])
    return 0.0 if share < 0 else round(1 + 99 * min(1.0, share), 2)


def measure(
    clean: np.ndarray, recipe: list[dict], degraded: np.ndarray, depth: np.ndarray | None = None
) -> list[float]:
    """Severity per type, in the order of TYPES, of the recipe's steps of that type alone; 0 where absent.

    `degraded` is the result of the whole recipe, which for a single type is already the answer; `depth` (H, W) is
    the one the recipe was applied with.
    """
    steps: dict[str, list[dict]] = {}
    for step in recipe:
        steps.setdefault(step["type"], []).append(step)
    severities: dict[str, float] = dict.fromkeys(TYPES, 0.0)
    for kind, own in steps.items():
        alone = degraded if len(steps) == 1 else apply_recipe(clean, own, depth)
        severities[kind] = severity_of(kind, psnr(clean, alone))
    return [severities[t] for t in TYPES]


def step_at(clean: np.ndarray, kind: str, wanted: float, seed: int) -> tuple[dict, float]:
    """The step of `kind` whose severity on this photo comes nearest to `wanted`, and its severity.

    Bisects the level, which damage grows with; all other parameters are those of the seed.
    """
    low, high = 0.0, 1.0
    tried: list[tuple[float, float, dict]] = []
    for _ in range(BISECTIONS):
        level = (low + high) / 2
        step = make_step(kind, level, torch.Generator().manual_seed(seed))
        found = severity_of(kind, psnr(clean, apply_recipe(clean, [step])))
        tried.append((abs(found - wanted), found, step))
        low, high = (level, high) if found < wanted else (low, level)
    _, found, step = min(tried, key=lambda entry: entry[0])
    return step, found


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


def curves(photos: list[np.ndarray], draws: int) -> dict[str, np.ndarray]:
    """Severities of each type, (levels, photos * draws), at PLOT_LEVELS."""
    found: dict[str, np.ndarray] = {}
    for kind in TYPES:
        rows = []
        for level in PLOT_LEVELS:
            steps = [make_step(kind, level, torch.Generator().manual_seed(seed)) for seed in range(draws)]
            rows.append([severity_of(kind, psnr(p, apply_recipe(p, [step]))) for p in photos for step in steps])
        found[kind] = np.array(rows)
    return found


def plot(photos: list[np.ndarray], draws: int, path: Path) -> None:
    """One panel per type: severity against level, median and the middle 80% of photos and recipes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 4, figsize=(12, 5.5), sharex=True, sharey=True, layout="constrained")
    for axis, (kind, found) in zip(axes.flat, curves(photos, draws).items(), strict=False):
        low, middle, high = np.percentile(found, (10, 50, 90), axis=1)
        axis.fill_between(PLOT_LEVELS, low, high, alpha=0.25, linewidth=0)
        axis.plot(PLOT_LEVELS, middle)
        axis.set(title=kind, xlim=(0, 1), ylim=(0, 100))
    axes[1, 0].set(xlabel="level of the recipe", ylabel="severity")
    axes.flat[-1].axis("off")
    figure.savefig(path, dpi=80, metadata={"Software": None})


def load_photos(clean: str) -> list[np.ndarray]:
    """The central 256 px of every clean training photo, (h, w, 3) uint8."""
    photos = []
    for data in parquet.read_split(clean, "train", columns=["image"])["image"]:
        image = storage.decode_image(data)
        top, left = (max(0, (side - 256) // 2) for side in image.shape[:2])
        photos.append(image[top : top + 256, left : left + 256])
    return photos


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the severity calibration (calibration.json), or plot it")
    parser.add_argument("--clean", default="data/clean", help="folder of clean shards")
    parser.add_argument("--draws", type=int, default=12, help="recipes per photo and type")
    parser.add_argument("--plot", type=Path, help="write a picture of the present calibration instead of fitting")
    args = parser.parse_args()
    photos = load_photos(args.clean)
    if args.plot:
        plot(photos, max(1, args.draws // 4), args.plot)
    else:
        storage.write_json(
            CALIBRATION, {"psnr_db": fit(photos, args.draws), "photos": len(photos), "draws": args.draws}
        )


if __name__ == "__main__":
    main()
