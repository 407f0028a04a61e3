"""Stage `synthesize`: clean photos in, pairs of degraded and clean pictures with their recipes out.

    python -m components.synthesis.synthesize

One row a pair: pair_id, photo_id, split, case, scene, objects, region, look (JSON), recipe (JSON), severities (7, order of
TYPES, 0 = absent), degraded and clean (PNG, pair_size x pair_size). A pair depends on nothing but its photo,
its number and the seed, so that more pairs leave the earlier ones as they were.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache, lru_cache
from itertools import count, repeat
from math import gcd
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from pydantic import Field

from components import params, storage, tracking
from components.degradations import recipe as recipes
from components.degradations import severity
from components.diagnosis import TYPES
from components.synthesis import looks

CLEAN, PAIRS = Path("data/clean"), Path("data/pairs")
CASES = ("clean", *TYPES, "mixture2", "mixture3")
CASE_DEPTH = {"clean": 0, "mixture2": 2, "mixture3": 3}
PAIRS_PER_SHARD = 256
PHOTOS_IN_MEMORY = 64


class SynthesizeParams(params.Section):
    """Section `synthesize`. Weights are the shares of clean, single, two- and three-fold training pairs;
    validation and test pairs take every case equally often."""

    seed: int = Field(ge=0)
    pair_size: int = Field(ge=128, multiple_of=16)
    train_pairs: int = Field(ge=1)
    val_pairs: int = Field(ge=1)
    test_pairs: int = Field(ge=1)
    weight_clean: float = Field(ge=0)
    weight_single: float = Field(ge=0)
    weight_mixture2: float = Field(ge=0)
    weight_mixture3: float = Field(ge=0)
    look_share: float = Field(ge=0, le=1)
    native_share: float = Field(ge=0, le=1)


def pair_generator(seed: int, split: str, number: int) -> torch.Generator:
    """A generator of its own for every pair."""
    digest = hashlib.sha256(f"{seed}/{split}/{number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def draw_case(config: SynthesizeParams, split: str, number: int, generator: torch.Generator) -> str:
    """The case of pair `number`: weighted at random in training, in turn elsewhere."""
    if split != "train":
        return CASES[number % len(CASES)]
    weights = torch.tensor([config.weight_clean, config.weight_single, config.weight_mixture2, config.weight_mixture3])
    drawn = int(torch.multinomial(weights, 1, generator=generator))
    single = TYPES[int(torch.randint(len(TYPES), (), generator=generator))]
    return ("clean", single, "mixture2", "mixture3")[drawn]


def cut_region(
    photo: np.ndarray, size: int, native_share: float, generator: torch.Generator
) -> tuple[np.ndarray, list[int]]:
    """A random square of the photo, native or shrunk, as (size, size, 3) and its box (left, top, side)."""
    height, width = photo.shape[:2]
    longest = min(height, width)
    # square root: more large regions (whole scenes) than small ones
    native, share = torch.rand(2, generator=generator).tolist()
    share = 0.0 if native < native_share else share**0.5
    side = max(min(size, longest), round(min(size, longest) + share * (longest - min(size, longest))))
    left = int(torch.randint(width - side + 1, (), generator=generator))
    top = int(torch.randint(height - side + 1, (), generator=generator))
    region = Image.fromarray(photo[top : top + side, left : left + side])
    if side != size:
        region = region.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(region), [left, top, side]


def make_pair(photo: pd.Series, pixels: np.ndarray, config: SynthesizeParams, split: str, number: int) -> dict:
    """Row `number` of a split, from one row of the clean shards and its decoded pixels (H, W, 3)."""
    generator = pair_generator(config.seed, split, number)
    case = draw_case(config, split, number, generator)
    clean, region = cut_region(pixels, config.pair_size, config.native_share, generator)
    look = {}
    if split == "train" and float(torch.rand((), generator=generator)) < config.look_share:
        look = looks.sample(generator)
        clean = looks.apply(clean, look)
    types: list[str] = [case] if case in TYPES else recipes.sample_types(CASE_DEPTH[case], generator)
    recipe = recipes.sample_recipe(types, generator)
    degraded = recipes.apply_recipe(clean, recipe)
    return {
        "pair_id": f"{split}-{number:06d}",
        "photo_id": photo["photo_id"],
        "split": split,
        "case": case,
        "scene": photo["scene"],
        "objects": list(photo["objects"]),
        "region": region,
        "look": json.dumps(look),
        "recipe": json.dumps(recipe),
        "severities": severity.measure(clean, recipe, degraded),
        "degraded": storage.encode_png(degraded),
        "clean": storage.encode_png(clean),
    }


def photo_of(number: int, photos: int, cases: int) -> int:
    """Photos in turn; the step from round to round shares no factor with them, so that each case meets every photo."""
    step = next(step for step in count(1) if gcd(cases + step, photos) == 1)
    return (number + number // (cases * photos) + number // cases * step) % photos


@cache
def split_photos(split: str) -> pd.DataFrame:
    """The clean photos of a split, read once per process."""
    return storage.read_shards(CLEAN, split, ["photo_id", "scene", "objects", "image"])


@lru_cache(maxsize=PHOTOS_IN_MEMORY)
def decoded_photo(split: str, index: int) -> np.ndarray:
    """(H, W, 3) uint8 of one clean photo; decoding costs more than degrading a region of it."""
    return storage.decode_image(split_photos(split)["image"].iloc[index])


def make_numbered(config: SynthesizeParams, split: str, number: int) -> dict:
    """Row `number` of a split; what a worker process runs."""
    index = photo_of(number, len(split_photos(split)), len(CASES))
    return make_pair(split_photos(split).iloc[index], decoded_photo(split, index), config, split, number)


def make_split(config: SynthesizeParams, split: str, total: int, out: Path, workers: Executor) -> Iterator[dict]:
    """Write the shards of one split; yields each row without its pictures."""
    rows: list[dict] = []
    made = workers.map(make_numbered, repeat(config), repeat(split), range(total), chunksize=8)
    for number, row in enumerate(made):
        rows.append(row)
        yield {k: row[k] for k in ("split", "case", "severities")}
        if len(rows) == PAIRS_PER_SHARD or number == total - 1:
            storage.write_shard(out, split, number // PAIRS_PER_SHARD, rows)
            rows = []


def worker_pool() -> ProcessPoolExecutor:
    """One process a core, one thread each: small pictures gain nothing from more, and bytes must not depend on it."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=torch.set_num_threads, initargs=(1,))


def main() -> None:
    config = params.load("synthesize", SynthesizeParams)
    part = PAIRS.with_name(PAIRS.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    counts = {"train": config.train_pairs, "val": config.val_pairs, "test": config.test_pairs}
    for split in counts:
        storage.shard_paths(CLEAN, split)
    with tracking.stage_run("synthesize", config.model_dump()) as run, worker_pool() as workers:
        table: list[dict] = []
        for split, total in counts.items():
            progress = storage.progress(make_split(config, split, total, part, workers), total, f"pairs, {split}")
            table.extend(progress)
        shutil.rmtree(PAIRS, ignore_errors=True)
        part.rename(PAIRS)
        frame = pd.DataFrame(table)
        found = np.array(frame["severities"].tolist())
        summary = {f"pairs_{split}": float((frame["split"] == split).sum()) for split in counts}
        for index, kind in enumerate(TYPES):
            present = found[found[:, index] > 0, index]
            summary[f"severity_mean_{kind}"] = float(present.mean()) if len(present) else 0.0
        storage.write_json("metrics/synthesize.json", summary)
        run.metrics(summary)


if __name__ == "__main__":
    tracking.telemetry_off()
    try:
        main()
    except (params.ParamsError, tracking.TrackingError, FileNotFoundError) as error:
        sys.exit(f"synthesize: {error}")
