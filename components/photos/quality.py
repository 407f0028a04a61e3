"""Is a photo clean enough to stand for the truth? Six measures, each with one threshold in params.yaml.

    python -m components.photos.quality data/photos

prints the measurements of every photo of a folder and what the thresholds say of it. Definitions, sources and how
the thresholds were chosen: docs/ingest-quality.md.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, fields

import numpy as np
from scipy import ndimage

from components import params
from components.photos.config import IngestParams
from components.photos.decode import PhotoError, decode, find_photos
from components.photos.identity import shrink

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
# Immerkaer (1996): the difference of two Laplacians, blind to edges of constant slope; its weights square to 36.
NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
NOISE_BLOCK_PX, FLATTEST = 16, 10  # noise is read where the picture is quietest: the 10th percentile of the blocks
BLACK, WHITE = 10.0, 245.0  # levels of 255: a block beyond is clipped and shows no noise
REBLUR_TAPS = 9  # Crete et al. (2007)
TILES = 6  # blur is read on 6x6 tiles:
SHARPEST = 20  # the 20th percentile of them, so that one plane in focus is enough
TILE_CONTRAST = 4.0  # standard deviation in levels below which a tile (sky, wall) says nothing of focus
DARK_PATCH_PX, DARKEST = 15, 5  # He et al. (2009); the 5th percentile: haze lifts even the darkest spots
GRID_PX = 8  # side of a JPEG block
GRID_CROP_PX = 2048  # the grid is looked for in the middle of the photo: enough of it, whatever the photo's size
STEP_CLIP = 24.0  # levels: larger steps are edges of the scene
SMALLEST_STEP = 0.25  # levels: below it a picture is drawn or empty, a ratio would mean nothing
CLIPPED = 250  # level from which a channel counts as clipped


@dataclass(frozen=True)
class Quality:
    """Measurements of one photo; see docs/ingest-quality.md.

    noise: standard deviation in levels of 255. blur: 0 sharp to 1. haze: dark channel, 0 to 1. blockiness: excess of
    steps on the 8-px grid, 0 none, 1 double. highlight: 99th percentile of brightness, 0 to 1. clipped: share of white.
    """

    noise: float
    blur: float
    haze: float
    blockiness: float
    highlight: float
    clipped: float


def measure(pixels: np.ndarray, decoded: np.ndarray) -> Quality:
    """Measurements of (H, W, 3) uint8 `pixels`, the photo as it enters the set, with sides of at least 16 px.

    `decoded` is the photo in its file's own size (H', W', 3): shrinking blurs the grid of JPEG blocks away.
    """
    luma = pixels @ LUMA
    return Quality(
        noise=noise_level(luma),
        blur=blur_level(luma),
        haze=haze_level(pixels),
        blockiness=blockiness_level(decoded),
        highlight=float(np.percentile(luma, 99)) / 255,
        clipped=float((pixels >= CLIPPED).all(axis=-1).mean()),
    )


def complaint(found: Quality, limits: IngestParams) -> str | None:
    """What keeps a photo out of the clean set, with the measured value, or None."""
    judged = (
        ("noisy", "noise", "max_noise", found.noise > limits.max_noise),
        ("blurred", "blur", "max_blur", found.blur > limits.max_blur),
        ("hazy", "haze", "max_haze", found.haze > limits.max_haze),
        ("over-compressed", "blockiness", "max_blockiness", found.blockiness > limits.max_blockiness),
        ("dark", "highlight", "min_highlight", found.highlight < limits.min_highlight),
        ("burnt out", "clipped", "max_clipped", found.clipped > limits.max_clipped),
    )
    told = [
        f"{what}: {name} {getattr(found, name):.2f}, ingest.{limit} is {getattr(limits, limit):g}"
        for what, name, limit, wrong in judged
        if wrong
    ]
    return "; ".join(told) or None


def _blocks(values: np.ndarray, side: int) -> np.ndarray:
    """Means of the side x side blocks of an (H, W) array, (H // side, W // side)."""
    height, width = values.shape[0] // side, values.shape[1] // side
    return values[: height * side, : width * side].reshape(height, side, width, side).mean((1, 3))


def noise_level(luma: np.ndarray) -> float:
    """Standard deviation of the noise in levels, on the flattest blocks that are not clipped (Immerkaer 1996)."""
    response = np.abs(ndimage.convolve(luma, NOISE_MASK, mode="nearest"))
    sigma = np.sqrt(np.pi / 2) / 6 * _blocks(response, NOISE_BLOCK_PX)
    level = _blocks(luma, NOISE_BLOCK_PX)
    seen = sigma[(level > BLACK) & (level < WHITE)]
    return float(np.percentile(seen, FLATTEST)) if seen.size else 0.0


def blur_level(luma: np.ndarray) -> float:
    """0 to 1: how little a further blur changes the sharpest tiles (Crete et al. 2007), in the worse direction."""
    height, width = (size // TILES for size in luma.shape)
    found = []
    for row in range(TILES):
        for column in range(TILES):
            tile = luma[row * height : (row + 1) * height, column * width : (column + 1) * width]
            if tile.std() >= TILE_CONTRAST:
                found.append(max(_crete(tile, axis) for axis in (0, 1)))
    return float(np.percentile(found, SHARPEST)) if found else 0.0


def _crete(tile: np.ndarray, axis: int) -> float:
    """Share of the steps along `axis` that survive a box blur of REBLUR_TAPS."""
    steps = np.abs(np.diff(tile, axis=axis))
    reblurred = np.abs(np.diff(ndimage.uniform_filter1d(tile, REBLUR_TAPS, axis=axis, mode="nearest"), axis=axis))
    total = float(steps.sum())
    return 1 - float(np.maximum(0, steps - reblurred).sum()) / total if total else 0.0


def haze_level(pixels: np.ndarray) -> float:
    """0 to 1: how bright the darkest patches are in their darkest channel (He et al. 2009)."""
    dark = ndimage.minimum_filter(pixels.min(axis=-1), DARK_PATCH_PX, mode="nearest")
    return float(np.percentile(dark, DARKEST)) / 255


def blockiness_level(decoded: np.ndarray) -> float:
    """Excess of the steps across an 8-px grid over those beside it, 0 for none; the worse direction counts."""
    top, left = (max(0, (size - GRID_CROP_PX) // 2) for size in decoded.shape[:2])
    luma = decoded[top : top + GRID_CROP_PX, left : left + GRID_CROP_PX] @ LUMA
    return max(_grid_excess(luma, axis) for axis in (0, 1))


def _grid_excess(luma: np.ndarray, axis: int) -> float:
    steps = np.minimum(np.abs(np.diff(luma, axis=axis)), STEP_CLIP)
    line = steps.mean(axis=1 - axis)
    # a photo that was turned by its EXIF starts its grid anywhere
    phases = np.array([line[phase::GRID_PX].mean() for phase in range(GRID_PX)])
    strongest = int(phases.argmax())
    beside = float(np.median(np.delete(phases, strongest)))
    return max(0.0, float(phases[strongest]) / max(beside, SMALLEST_STEP) - 1)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure how clean photos are; limits: section ingest of params.yaml.")
    parser.add_argument("inputs", nargs="+", help="photos or folders")
    try:
        limits = params.load("ingest", IngestParams)
        paths = find_photos(parser.parse_args(arguments).inputs)
    except (params.ParamsError, PhotoError) as error:
        print(error, file=sys.stderr)
        return 2
    names = [field.name for field in fields(Quality)]
    print("\t".join([*names, "photo", "verdict"]))
    for path in paths:
        try:
            photo = decode(path, limits.max_pixels)
        except PhotoError as error:
            print(error, file=sys.stderr)
            continue
        pixels = shrink(photo.pixels, limits.longest_side_px)
        if min(pixels.shape[:2]) < limits.min_side_px:
            print(f"{path}: too small, ingest.min_side_px is {limits.min_side_px}", file=sys.stderr)
            continue
        found = measure(pixels, photo.pixels)
        values = [f"{getattr(found, name):.3f}" for name in names]
        print("\t".join([*values, str(path), complaint(found, limits) or "clean"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
