"""How long `restore` takes: seconds per megapixel of both looks and of the restorer, for photos of several sizes.

    .venv/bin/python -m benchmarks.speed --model pretrained [--megapixels 0.25 1 12] [--rounds 3]

A built-in photo in each size, darkened and noisy, and blurred: the second also costs the restorer its filters. Models
are loaded before. Medians of the rounds, on as many threads as PyTorch takes; at most 1.0 s per megapixel is asked for.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np
import torch
from PIL import Image

import rnr
from benchmarks.memory import PHOTO
from components import inference
from components.degradations.recipe import apply_recipe, make_step

MOST_S = 1.0
DAMAGES = {"dark and noisy": ("low_light", "noise"), "blurred": ("blur",)}
LEVEL = 0.6


def photo_of(megapixels: float, kinds: tuple[str, ...]) -> np.ndarray:
    """(H, W, 3) uint8: the built-in photo in this size, degraded by `kinds` at LEVEL."""
    with Image.open(PHOTO) as photo:
        scale = (megapixels * 1e6 / (photo.width * photo.height)) ** 0.5
        size = (round(photo.width * scale), round(photo.height * scale))
        clean = np.asarray(photo.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    return apply_recipe(clean, [make_step(kind, LEVEL, torch.Generator().manual_seed(0)) for kind in kinds])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the seconds of restore by the size of the photo")
    parser.add_argument("--model", help="pretrained, models:/NAME@ALIAS or a folder")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1, 12])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    models = rnr.load(args.model)
    print(f"{torch.get_num_threads()} threads; seconds per megapixel (whole: at most {MOST_S:g} is asked for)")
    for megapixels in args.megapixels:
        for name, kinds in DAMAGES.items():
            photo = photo_of(megapixels, kinds)
            size = photo.shape[0] * photo.shape[1] / 1e6
            rounds = []
            for _ in range(args.rounds + 1):
                began = time.perf_counter()
                result = models.restore(photo)
                rounds.append({"whole_s": time.perf_counter() - began, **result.timings})
            # the first round warms up
            middle = {key: statistics.median(one[key] for one in rounds[1:]) / size for key in rounds[0]}
            said = ", ".join(result.before.findings) or "clean"
            parts = ", ".join(f"{key.removesuffix('_s')} {seconds:.2f}" for key, seconds in middle.items())
            print(f"{megapixels:5g} megapixels, {name} (found: {said}): {parts}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except inference.ModelRefError as error:
        sys.exit(f"speed: {error}")
