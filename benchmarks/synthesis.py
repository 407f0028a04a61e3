"""Megapixels per second of our degradations beside imagecorruptions and albumentations, and how they scale.

    .venv/bin/pip install --no-deps --target work/peers imagecorruptions==1.1.2 albumentations==2.0.8 \\
        albucore==0.0.24 stringzilla simsimd
    OMP_NUM_THREADS=1 PYTHONPATH=work/peers .venv/bin/python -W ignore benchmarks/synthesis.py
    .venv/bin/python benchmarks/synthesis.py --memory

The first compares side by side: for each corruption that both sides have, all take turns on the same pictures and the
median of the rounds counts. "ours" is one thread beside the peers' one thread; "ours, 2 processes" is how the stage
synthesises on two cores, while a peer stays on its one thread. The second makes up to 50,000 pairs and prints
the peak memory of the whole process group, and one process against two.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))
ROUNDS, SIZE, PICTURES = 9, 256, 32
LEVEL = 3


@functools.cache
def pictures() -> list[np.ndarray]:
    """Real photos as (SIZE, SIZE, 3) uint8."""
    from PIL import Image, ImageOps

    paths = sorted((REPOSITORY / "data/photos").glob("*.jpg"))[:PICTURES]
    return [np.asarray(ImageOps.fit(Image.open(path).convert("RGB"), (SIZE, SIZE))) for path in paths]


@functools.cache
def ours(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Corruption `name` with the parameters of imagecorruptions' middle level, through the whole public path."""
    import torch

    from components.degradations import presets
    from components.degradations.recipe import apply_recipe, make_step

    generator = torch.Generator().manual_seed(1)
    if name == "rain":
        step = make_step("rain", 0.5, generator)
    elif name == "low_light":
        step = make_step("low_light", 0.5, generator)
    else:
        step = presets.corruption(name, LEVEL, generator)
    return lambda image: apply_recipe(image, [step])


def peers() -> dict[str, dict[str, Callable[[np.ndarray], np.ndarray]]]:
    """Per corruption the peers that have it."""
    import albumentations as A
    import cv2

    from benchmarks.cases import third_party

    corrupt = third_party().corrupt
    cv2.setNumThreads(1)
    # parameters as strong as imagecorruptions' middle level
    transforms = {
        "gaussian_noise": A.GaussNoise(std_range=(0.18, 0.18), p=1),
        "shot_noise": A.ShotNoise(scale_range=(0.08, 0.08), p=1),
        "gaussian_blur": A.GaussianBlur(sigma_limit=(3, 3), blur_limit=0, p=1),
        "defocus_blur": A.Defocus(radius=(6, 6), alias_blur=(0.1, 0.1), p=1),
        "motion_blur": A.MotionBlur(blur_limit=(15, 15), p=1),
        "snow": A.RandomSnow(snow_point_range=(0.3, 0.3), method="texture", p=1),
        "fog": A.RandomFog(fog_coef_range=(0.5, 0.5), p=1),
        "jpeg_compression": A.ImageCompression(quality_range=(15, 15), p=1),
        "rain": A.RandomRain(rain_type="heavy", p=1),
    }
    table: dict[str, dict[str, Callable[[np.ndarray], np.ndarray]]] = {}
    for name, transform in transforms.items():
        table[name] = {"albumentations": lambda image, t=transform: t(image=image)["image"]}
        if name != "rain":
            table[name]["imagecorruptions"] = lambda image, n=name: corrupt(image, corruption_name=n, severity=LEVEL)
    return table


def run_ours(name: str, numbers: list[int]) -> None:
    """What a worker process does: corrupt some of the pictures."""
    action = ours(name)
    images = pictures()
    for number in numbers:
        action(images[number])


def compare() -> None:
    """Print a table: MP/s per corruption, and ratios over the sets that two sides share."""
    from components.synthesis import synthesize

    synthesize.start_worker()
    images = pictures()
    halves = [list(range(0, len(images), 2)), list(range(1, len(images), 2))]
    megapixels = len(images) * SIZE * SIZE / 1e6
    seconds: dict[str, dict[str, float]] = {}
    with synthesize.worker_pool(2) as pool:
        for name, others in peers().items():
            action = ours(name)
            sides: dict[str, Callable[[], object]] = {
                "ours": lambda a=action: [a(image) for image in images],
                "ours, 2 processes": lambda n=name: list(pool.map(run_ours, [n, n], halves)),
            }
            for peer, corrupt in others.items():
                sides[peer] = lambda a=corrupt: [a(image) for image in images]
            rounds: dict[str, list[float]] = {side: [] for side in sides}
            for turn in range(ROUNDS + 2):
                for side, whole in sides.items():
                    began = time.perf_counter()
                    whole()
                    if turn > 1:  # the first ones warm up
                        rounds[side].append(time.perf_counter() - began)
            seconds[name] = {side: statistics.median(values) for side, values in rounds.items()}
            speeds = (f"{side} {megapixels / s:6.1f}" for side, s in seconds[name].items())
            print(f"{name:17}", *speeds, "MP/s", sep="  ", flush=True)
    for peer in ("imagecorruptions", "albumentations"):
        shared = [row for row in seconds.values() if peer in row]
        for side in ("ours", "ours, 2 processes"):
            total = sum(row[peer] for row in shared) / sum(row[side] for row in shared)
            ratios = [row[peer] / row[side] for row in shared]
            geometric = statistics.geometric_mean(ratios)
            print(
                f"{side} against {peer}, {len(shared)} corruptions: {total:.2f} x the megapixels per second over all, "
                f"geometric mean {geometric:.2f} x, worst {min(ratios):.2f} x"
            )


PLAN = """
import sys, time
from pathlib import Path
import pandas as pd
from components import params
from components.synthesis import synthesize as s
config = params.load("synthesize", s.SynthesizeParams)
if __name__ == "__main__":
    began = time.perf_counter()
    shards = s.plan(config)
    for _ in s.make_all(shards, config, Path("data/pairs"), int(sys.argv[1])): pass
    print(time.perf_counter() - began)
"""


def peak_memory(folder: Path, per_photo: int, workers: int) -> tuple[float, float, int]:
    """(seconds, peak GiB of all processes by proportional set size, pairs) of a synthesis in `folder`."""
    import psutil
    import pyarrow.parquet as pq
    import yaml

    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    values["synthesize"] |= {"train_pairs_per_photo": per_photo, "val_pairs_per_photo": 1, "test_pairs_per_photo": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    (folder / "plan.py").write_text(PLAN)
    for path in (folder / "data/pairs").glob("*"):
        path.unlink()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "plan.py", str(workers)], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            try:
                family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                peak = max(peak, sum(member.memory_full_info().pss for member in family))
            except psutil.Error:
                pass
            time.sleep(0.5)

    watcher = threading.Thread(target=watch)
    watcher.start()
    told, _ = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit("the synthesis failed")
    count = sum(pq.read_metadata(path).num_rows for path in (folder / "data/pairs").glob("*.parquet"))
    return float(told), peak / 2**30, count


def memory() -> None:
    """Print seconds and peak memory of 1,000 and 50,000 pairs, and the gain of a second process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        (folder / "data/clean").symlink_to(REPOSITORY / "data/clean")
        (folder / "data/pairs").mkdir()
        for per_photo, workers in ((25, 1), (25, 2), (100, 1), (100, 2), (1320, 2)):
            spent, peak, count = peak_memory(folder, per_photo, workers)
            print(
                f"{count:6d} pairs, {workers} processes: {spent:7.1f} s, {count / spent:6.1f} pairs/s, {peak:.2f} GiB"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--memory", action="store_true", help="memory and scaling instead of the comparison")
    memory() if parser.parse_args().memory else compare()
