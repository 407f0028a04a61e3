"""Stage `synthesize`: clean photos in, pairs of degraded and clean pictures with their recipes out.

    python -m components.synthesis.synthesize

One row a pair: pair_id, photo_id, split, case, scene, objects, region, look (JSON), recipe (JSON), severities
(7, order of TYPES, 0 = absent), degraded and clean (PNG, pair_size x pair_size), depth (16-bit PNG, or empty where
the recipe makes it up). Each shard of clean photos has its own shards of pairs: new photos add shards and leave the
others as they were. Killed at any point it goes on with the shards that are whole.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from components import lifeline, params, storage, tracking
from components.diagnosis import TYPES
from components.storage import parquet
from components.synthesis.depths import DepthSource
from components.synthesis.pairs import SynthesizeParams, make_pair

CLEAN, PAIRS = Path("data/clean"), Path("data/pairs")
SPLITS = ("train", "val", "test")
CODE = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "degradations")]
MAKING = ".making"  # below the unfinished folder: shards that have no seal yet
PAIRS_PER_SHARD = 256
PHOTOS_IN_MEMORY = 64
# of glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class Shard:
    """Pairs first..last-1 of one shard of clean photos, and where they go."""

    clean: Path
    split: str
    number: int
    first: int
    last: int

    def path(self, folder: Path) -> Path:
        return folder / f"{self.clean.stem}-{self.number:05d}.parquet"


def plan(config: SynthesizeParams, clean: Path = CLEAN) -> list[Shard]:
    """Every shard of pairs that the shards of clean photos ask for, in order."""
    shards = []
    for split in SPLITS:
        for path in parquet.paths(clean, split):
            total = parquet.count_rows(path) * config.per_photo(split)
            for number, first in enumerate(range(0, total, PAIRS_PER_SHARD)):
                shards.append(Shard(path, split, number, first, min(total, first + PAIRS_PER_SHARD)))
    return shards


@lru_cache(maxsize=1)
def clean_photos(path: Path) -> pd.DataFrame:
    """The photos of one clean shard; a process reads shard after shard."""
    return parquet.read(path, ["photo_id", "name", "scene", "objects", "image"])


@lru_cache(maxsize=PHOTOS_IN_MEMORY)
def decoded_photo(path: Path, index: int) -> np.ndarray:
    """(H, W, 3) uint8 of one clean photo; decoding costs more than degrading a region of it."""
    return storage.decode_image(clean_photos(path)["image"].iloc[index])


@lru_cache(maxsize=1)
def depth_source(source: str) -> DepthSource:
    return DepthSource(source)


def make_shard(shard: Shard, config: SynthesizeParams, folder: Path) -> pd.DataFrame:
    """Write one shard of pairs, unless it is there already, whole; returns its cases and severities."""
    path = shard.path(folder)
    if not storage.is_sealed(path):
        photos = clean_photos(shard.clean)
        rows = []
        for row in range(shard.first, shard.last):
            # photos in turn: any part of the pairs shows all of them
            number, index = divmod(row, len(photos))
            pixels = decoded_photo(shard.clean, index)
            depth = depth_source(config.depth)
            rows.append(make_pair(photos.iloc[index], pixels, config, shard.split, number, depth))
        made = parquet.write(folder / MAKING, f"{shard.clean.stem}", shard.number, rows)
        storage.move_sealed(made, path)
    return pd.read_parquet(path, columns=["split", "case", "severities"])


def make_all(shards: list[Shard], config: SynthesizeParams, folder: Path, workers: int) -> Iterator[pd.DataFrame]:
    """Make the shards, `workers` at a time, one thread each: bytes must not depend on how many there are."""
    count = len(shards)
    with worker_pool(workers) as pool:
        yield from pool.map(make_shard, shards, [config] * count, [folder] * count)


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that degrade pictures, one thread each."""
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=start_worker)


def start_worker() -> None:
    """One thread, no life after the stage's, and freed memory kept: pictures of the same size come and go, the kernel
    need not clear new pages.

    Without the last a third of the time goes into page faults (benchmarks/synthesis.py).
    """
    # a pool whose owner was killed would wait for work for ever
    lifeline.die_with_parent()
    torch.set_num_threads(1)
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "mallopt"):  # glibc only
        for option, size in ((M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, 1 << 29)):
            allocator.mallopt(option, ctypes.c_int(size))


def summarise(table: pd.DataFrame) -> dict[str, float]:
    """Pairs per split and mean severity per type where it is present."""
    found = np.array(table["severities"].tolist())
    summary = {f"pairs_{split}": float((table["split"] == split).sum()) for split in SPLITS}
    for index, kind in enumerate(TYPES):
        present = found[found[:, index] > 0, index]
        summary[f"severity_mean_{kind}"] = float(present.mean()) if len(present) else 0.0
    return summary


def main() -> None:
    config = params.load("synthesize", SynthesizeParams)
    DepthSource(config.depth)
    shards = plan(config)
    clean = [str(path) for split in SPLITS for path in parquet.paths(CLEAN, split)]
    made_of = storage.digest_inputs(config.model_dump(), [*clean, *CODE])
    part = PAIRS.with_name(f"{PAIRS.name}-{made_of}.part")
    for stale in PAIRS.parent.glob(f"{PAIRS.name}*.part"):
        if stale != part:
            shutil.rmtree(stale)
    # one process a core: small pictures gain nothing from threads
    workers = min(len(shards), os.cpu_count() or 1)
    with storage.only_one(part), tracking.stage_run("synthesize", config.model_dump()) as run:
        made = make_all(shards, config, part, workers)
        tables = list(storage.progress(made, len(shards), "shards of pairs"))
        # the lock, the seals, and what a killed process left half written
        shutil.rmtree(part / MAKING, ignore_errors=True)
        for hidden in part.glob(".*"):
            hidden.unlink()
        shutil.rmtree(PAIRS, ignore_errors=True)
        part.rename(PAIRS)
        summary = summarise(pd.concat(tables, ignore_index=True))
        storage.write_json("metrics/synthesize.json", summary)
        run.metrics(summary)


if __name__ == "__main__":
    tracking.telemetry_off()
    try:
        main()
    except (params.ParamsError, tracking.TrackingError, OSError) as error:
        sys.exit(f"synthesize: {error}")
