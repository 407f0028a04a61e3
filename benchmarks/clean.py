"""What happens to photos with nothing wrong: 200 crops of clean test photos, each given to `restore`.

    python -m benchmarks.clean --model pretrained [--clean data/clean] [--count 200]

In a folder in which the model was trained, so that no training saw the photos. Crops of 192 to 1024 px, half of them
shrunk from a larger region, spread over all test photos. Prints how many came back as they were, and of the others the
PSNR to what went in and what was said of them: at least 48 dB is asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import rnr
from components import inference, storage
from components.degradations.severity import psnr
from components.storage import parquet

SIDES = (192, 256, 384, 512, 1024)
LEAST_DB = 48.0


def crops(clean: str | Path, count: int, split: str = "test") -> Iterator[tuple[str, np.ndarray]]:
    """(photo_id, (H, W, 3) uint8) of `count` crops of a split's photos, the same at every call."""
    frame = parquet.read_split(clean, split, ["photo_id", "image"])
    photos = [(row.photo_id, storage.decode_image(row.image)) for row in frame.itertuples(index=False)]
    draw = np.random.default_rng(0)
    for number in range(count):
        name, photo = photos[number % len(photos)]
        short = min(photo.shape[:2])
        side = min(SIDES[number // len(photos) % len(SIDES)], short)
        region = side if number % 2 else int(draw.integers(side, short + 1))
        top, left = (int(draw.integers(length - region + 1)) for length in photo.shape[:2])
        crop = photo[top : top + region, left : left + region]
        if region > side:
            crop = np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.LANCZOS))
        yield name, crop


def main() -> None:
    parser = argparse.ArgumentParser(description="Do clean photos come back as they were?")
    parser.add_argument("--model", help="pretrained, models:/NAME@ALIAS or a folder")
    parser.add_argument("--clean", default="data/clean", help="folder of clean shards")
    parser.add_argument("--count", type=int, default=200)
    args = parser.parse_args()
    models = rnr.load(args.model)
    same, changed = 0, []
    for name, crop in crops(args.clean, args.count):
        result = models.restore(crop)
        if np.array_equal(result.image, crop):
            same += 1
            continue
        said = ", ".join(f"{kind} {one.severity:.0f}" for kind, one in result.before.findings.items())
        changed.append((psnr(crop, result.image), f"{name} at {crop.shape[1]} x {crop.shape[0]}: {said}"))
    far = [line for line in sorted(changed) if line[0] < LEAST_DB]
    print(f"{same} of {args.count} as they were, {len(changed) - len(far)} above {LEAST_DB:g} dB, {len(far)} below")
    for decibels, line in far:
        print(f"{decibels:5.1f} dB  {line}")


if __name__ == "__main__":
    try:
        main()
    except (inference.ModelRefError, FileNotFoundError) as error:
        sys.exit(f"clean: {error}")
