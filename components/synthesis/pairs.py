"""One pair: a region of a clean photo in some look, and the same region degraded.

A pair depends on nothing but its photo, its number and the seed, so that more pairs or more photos leave the
earlier ones as they were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from components import params, storage
from components.degradations import presets, severity
from components.degradations import recipe as recipes
from components.diagnosis import TYPES
from components.synthesis import looks
from components.synthesis.depths import DepthSource

CASES = ("clean", *TYPES, "mixture2", "mixture3")
CASE_DEPTH = {"clean": 0, "mixture2": 2, "mixture3": 3}


class SynthesizeParams(params.Section):
    """Section `synthesize`. Weights are the shares of clean, single, two- and three-fold training pairs;
    validation and test pairs take every case equally often."""

    seed: int = Field(ge=0)
    preset: presets.Preset
    depth: str = Field(min_length=1)
    pair_size: int = Field(ge=128, multiple_of=16)
    train_pairs_per_photo: int = Field(ge=1)
    val_pairs_per_photo: int = Field(ge=1)
    test_pairs_per_photo: int = Field(ge=1)
    weight_clean: float = Field(ge=0)
    weight_single: float = Field(ge=0)
    weight_mixture2: float = Field(ge=0)
    weight_mixture3: float = Field(ge=0)
    look_share: float = Field(ge=0, le=1)
    native_share: float = Field(ge=0, le=1)

    def per_photo(self, split: str) -> int:
        return int(getattr(self, f"{split}_pairs_per_photo"))


def pair_generator(seed: int, photo_id: str, number: int) -> torch.Generator:
    """A generator of its own for every pair."""
    digest = hashlib.sha256(f"{seed}/{photo_id}/{number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def draw_case(config: SynthesizeParams, split: str, photo_id: str, number: int, generator: torch.Generator) -> str:
    """The case of a photo's pair `number`: weighted at random in training, in turn elsewhere.

    Each photo begins its turn at a case of its own, so that few pairs of many photos show all cases too.
    """
    if split != "train":
        return CASES[(int(photo_id, 16) + number) % len(CASES)]
    weights = torch.tensor([config.weight_clean, config.weight_single, config.weight_mixture2, config.weight_mixture3])
    drawn = int(torch.multinomial(weights, 1, generator=generator))
    single = TYPES[int(torch.randint(len(TYPES), (), generator=generator))]
    return ("clean", single, "mixture2", "mixture3")[drawn]


def draw_box(height: int, width: int, size: int, native_share: float, generator: torch.Generator) -> list[int]:
    """A random square (left, top, side) of a photo; side is `size` for a native region, else up to all of it."""
    longest = min(height, width)
    native, share = torch.rand(2, generator=generator).tolist()
    # every scale equally often: whole scenes tell of light and air, native regions of noise, streaks and blur
    least = min(size, longest)
    side = least if native < native_share else round(least * (longest / least) ** share)
    left = int(torch.randint(width - side + 1, (), generator=generator))
    top = int(torch.randint(height - side + 1, (), generator=generator))
    return [left, top, side]


def cut(picture: np.ndarray, box: list[int], size: int) -> np.ndarray:
    """(size, size, 3) or (size, size) of a box (left, top, side) of a picture, shrunk or enlarged to fit."""
    left, top, side = box
    region = picture[top : top + side, left : left + side]
    if side == size:
        return region
    return np.asarray(Image.fromarray(region).resize((size, size), Image.Resampling.LANCZOS))


def draw_look(config: SynthesizeParams, generator: torch.Generator) -> dict:
    """A random look, or none (an empty one), for a training picture."""
    return looks.sample(generator) if float(torch.rand((), generator=generator)) < config.look_share else {}


def region_of(pixels: np.ndarray, box: list[int], look: dict, size: int) -> np.ndarray:
    """The clean side of a pair: a region of the photo (H, W, 3) uint8 in its look."""
    return looks.apply(cut(pixels, box, size), look)


def make_pair(
    photo: Mapping, pixels: np.ndarray, config: SynthesizeParams, split: str, number: int, depth: DepthSource
) -> dict:
    """Pair `number` of a photo: one row of the clean shards and its decoded pixels (H, W, 3)."""
    generator = pair_generator(config.seed, photo["photo_id"], number)
    height, width = pixels.shape[:2]
    box = draw_box(height, width, config.pair_size, config.native_share, generator)
    look = draw_look(config, generator) if split == "train" else {}
    case, recipe = draw_recipe(config, split, photo["photo_id"], number, generator)
    clean = region_of(pixels, box, look, config.pair_size)
    far = depth.of(photo["name"], clean, box, (height, width)) if recipe else None
    degraded = recipes.apply_recipe(clean, recipe, far)
    return {
        "pair_id": f"{photo['photo_id']}-{number:05d}",
        "photo_id": photo["photo_id"],
        "split": split,
        "case": case,
        "scene": photo["scene"],
        "objects": list(photo["objects"]),
        "region": box,
        "look": json.dumps(look),
        "recipe": json.dumps(recipe),
        "severities": severity.measure(clean, recipe, degraded, far),
        "degraded": storage.encode_png(degraded),
        "clean": storage.encode_png(clean),
        "depth": b"" if far is None else DepthSource.stored(far),
    }


def draw_recipe(
    config: SynthesizeParams, split: str, photo_id: str, number: int, generator: torch.Generator
) -> tuple[str, list[dict]]:
    """The case and the recipe of a photo's pair `number`, of our own physics or of a published protocol."""
    if config.preset != "native":
        return presets.draw(config.preset, int(photo_id, 16) + number, generator)
    case = draw_case(config, split, photo_id, number, generator)
    types: list[str] = [case] if case in TYPES else recipes.sample_types(CASE_DEPTH[case], generator)
    return case, recipes.sample_recipe(types, generator)


def replay(row: Mapping) -> np.ndarray:
    """The degraded picture (H, W, 3) uint8 of a stored row, made again from its clean side, recipe and depth."""
    clean = storage.decode_image(row["clean"])
    far = DepthSource.restored(row["depth"]) if row["depth"] else None
    return recipes.apply_recipe(clean, json.loads(row["recipe"]), far)
