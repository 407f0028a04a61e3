"""Pairs that anybody could diagnose: noise and JPEG so strong that features must show them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from components import storage
from components.diagnosis import TYPES
from components.storage import parquet

SIDE = 96
CASES = ("clean", "noise", "jpeg", "mixture2")


def crops(photo: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Different squares of SIDE px of a photo (192, 192, 3)."""
    generator = np.random.default_rng(count)
    for _ in range(count):
        top, left = generator.integers(0, 192 - SIDE, 2)
        yield photo[top : top + SIDE, left : left + SIDE]


def noisy(image: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """White Gaussian noise of `sigma` levels of 255 in each channel."""
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return (image + noise).round().clip(0, 255).astype(np.uint8)


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def make_rows(photos: list[np.ndarray], per_photo: int) -> list[dict]:
    """Rows of data/pairs: every case in turn, the severity in step with the strength."""
    rows = []
    for number, photo in enumerate(photos):
        for place, clean in enumerate(crops(photo, per_photo)):
            case, severity = CASES[place % len(CASES)], 20.0 + 10 * (place % 8)
            truth, degraded = dict.fromkeys(TYPES, 0.0), clean
            if case in ("noise", "mixture2"):
                truth["noise"], degraded = severity, noisy(degraded, severity / 2, place)
            if case in ("jpeg", "mixture2"):
                truth["jpeg"], degraded = severity, compressed(degraded, 24 - round(severity / 5))
            rows.append(
                {
                    "photo_id": f"photo{number}",
                    "case": case,
                    "severities": list(truth.values()),
                    "degraded": storage.encode_png(degraded),
                    "clean": storage.encode_png(clean),
                }
            )
    return rows


def write_pairs(folder: Path, photos: list[np.ndarray], train: int, others: int) -> None:
    """Shards of three splits, whose photos are different ones; `train` and `others` pairs per photo."""
    parts = {"train": (photos[:4], train), "val": (photos[4:5], others), "test": (photos[5:], others)}
    for split, (own, per_photo) in parts.items():
        rows = make_rows(own, per_photo)
        # two shards each: nothing may depend on there being one
        parquet.write(folder, f"{split}-00000", 0, rows[: len(rows) // 2])
        parquet.write(folder, f"{split}-00000", 1, rows[len(rows) // 2 :])
