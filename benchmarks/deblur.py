"""What the filters of `components/restorer/deblur.py` gain alone, for kernels that are known, by how far they reach.

    python -m benchmarks.deblur [--reach 24 32 48 64 1000] [--photos 12]

Built-in photos, the middle 192 px of each; PSNR in dB gained by the bold filter, the careful one, and the careful one
applied again to what it left. 1000 px is without an end. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from components.degradations.recipe import apply_recipe
from components.degradations.severity import psnr
from components.photos.decode import decode
from components.restorer import deblur

PHOTOS = Path(__file__).resolve().parents[1] / "data/photos"
SIDE = 192
KERNELS = (
    ("gaussian", 5.0, 0.0),
    ("defocus", 4.0, 0.0),
    ("defocus", 7.0, 0.0),
    ("defocus", 9.0, 0.0),
    ("motion", 11.0, 30.0),
    ("motion", 20.0, 20.0),
)


def pictures(count: int) -> list[np.ndarray]:
    """(SIDE, SIDE, 3) uint8 of the first `count` built-in photos."""
    found = []
    for path in sorted(PHOTOS.glob("*.jpg"))[:count]:
        whole = decode(path).pixels
        top, left = ((side - SIDE) // 2 for side in whole.shape[:2])
        found.append(whole[top : top + SIDE, left : left + SIDE])
    return found


def known(kind: str, extent: float, angle: float) -> torch.Tensor:
    """(1, GUESS): a guess that is sure of itself."""
    twice = 2 * math.radians(angle)
    odds = [9.0 * (name == kind) for name in deblur.KINDS]
    wide = [math.log(extent)] * (deblur.WIDE.stop - deblur.WIDE.start)
    return torch.tensor([[*odds, *wide, math.cos(twice), math.sin(twice), *deblur.LEAST_DOUBT]])


def gains(clean: list[np.ndarray], kernel: tuple[str, float, float], reach: int) -> np.ndarray:
    """(3,) mean dB gained by each filter."""
    params = dict(zip(("kind", "extent_px", "angle_deg"), kernel, strict=True))
    step = {"type": "blur", "level": 0.5, "seed": 1, "params": params, "factors": params}
    table = []
    for photo in clean:
        seen = apply_recipe(photo, [step])
        image = torch.from_numpy(seen.astype(np.float32) / 255).permute(2, 0, 1)[None]
        # what is mirrored stays as it is: only the filters' own reach is compared
        with mock.patch.object(deblur, "FADE", reach):
            added = deblur.sharpened(image, known(*kernel))
        found = (image + added.unflatten(1, (-1, 3))[0]).clamp(0, 1).permute(0, 2, 3, 1).numpy()
        table.append([psnr((255 * one).round().astype(np.uint8), photo) - psnr(seen, photo) for one in found])
    return np.mean(table, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the filters for known kernels")
    parser.add_argument("--reach", type=int, nargs="+", default=[24, 32, 48, 64, 1000], help="px")
    parser.add_argument("--photos", type=int, default=12)
    args = parser.parse_args()
    clean = pictures(args.photos)
    print(f"| kernel | {' | '.join(f'{reach} px' for reach in args.reach)} |")
    print("|---" * (1 + len(args.reach)) + "|")
    for kernel in KERNELS:
        cells = ("{:.2f} / {:.2f} / {:.2f}".format(*gains(clean, kernel, reach)) for reach in args.reach)
        print(f"| {kernel[0]}, {kernel[1]:g} px, {kernel[2]:g} degrees | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
