"""Seconds a diagnosis takes: plain generation, constrained decoding and the one-pass scorer, side by side.

    .venv/bin/python -m benchmarks.reasoner --model models/reasoner --photos data/photos
    .venv/bin/python -m benchmarks.reasoner --model models/reasoner --parse 10000

The first diagnoses files of several sizes, all views, from the disk. Then all sides take turns on the same photos, one
at a time and sixteen together; medians of the rounds count. All sides look at one view of each photo, which they
prepare themselves; plain generation is transformers' own `generate` (greedy, with its key-value cache), held to the
length of the answer. Ratios are printed as they are, which is what is required, and without the preparation of the
pictures. The second counts the answers that parse as a `Diagnosis`: photos, and pictures that nobody would take.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers.utils import logging

from components import storage
from components.evaluation.answers import parses
from components.photos.decode import decode, find_photos
from components.reasoner import pictures
from components.reasoner.reader import Reasoner

BATCHES = (1, 16)
SIDE = 1024  # px: longest side of the photos that take turns, as `ingest` stores them
MEGAPIXELS = (0.2, 1, 12, 50)
PARSED_AT_ONCE = 64
LEAST, MOST = 64, 192  # px: sides of the pictures whose answers are parsed
STRANGE = ("noise", "black", "white", "16x16", "1x1", "wide", "tall")
ORDINARY = ("crop", "photo")
# what is asked for: times faster than plain generation, pictures prepared, and seconds for a photo of any size
REQUIRED = {"constrained": 4.0, "score": 8.0}
MOST_SECONDS = 1.5


def load_photos(folder: Path, count: int) -> list[np.ndarray]:
    """The first `count` photos of a folder (again from the start if it has fewer), at most SIDE px long."""
    paths = find_photos([folder])[:count]
    photos = []
    for path in storage.progress(paths, len(paths), "decoding photos"):
        image = Image.fromarray(decode(path).pixels)
        image.thumbnail((SIDE, SIDE))
        photos.append(np.asarray(image))
    return [photos[number % len(photos)] for number in range(count)]


def generate(reasoner: Reasoner, photos: list[np.ndarray]) -> torch.Tensor:
    """(B, tokens) greedy answers of transformers' `generate`, from the prompt and one view of each photo."""
    layout = reasoner.layout
    patches = pictures.look(pictures.Views.joined(reasoner.views(photos)))
    prompt = layout.template[: layout.answer_start].repeat(len(photos), 1).to(reasoner.device)
    length = len(layout.template) - layout.answer_start
    told = reasoner.model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        mm_token_type_ids=(prompt == reasoner.model.config.image_token_id).int(),
        pixel_values=patches.flatten(0, 1).to(reasoner.device),
        image_grid_thw=torch.tensor(reasoner.sight.grid).repeat(len(photos), 1).to(reasoner.device),
        do_sample=False,
        use_cache=True,
        max_new_tokens=length,
        # an answer that ends early would be no answer of the same length
        min_new_tokens=length,
    )
    return told[:, layout.answer_start :]


def take_turns(sides: dict[str, Callable[[], object]], rounds: int, label: str) -> dict[str, float]:
    """Median seconds of each side; all take turns, and a first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in storage.progress(range(rounds + 1), rounds + 1, label):
        for name, action in sides.items():
            began = time.perf_counter()
            action()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def prepare(reasoner: Reasoner, photos: list[np.ndarray]) -> torch.Tensor:
    """What all sides do before the model runs: one view of each photo, its pictures of evidence, their patches."""
    return pictures.look(pictures.Views.joined(reasoner.views(photos)), frames=1)


def verdict(met: bool, requirement: str, seen: str) -> None:
    print(f"{'met   ' if met else 'MISSED'}  {requirement}: {seen}", flush=True)


def compare(reasoner: Reasoner, photos: list[np.ndarray], rounds: int) -> None:
    """Print seconds a photo, ratios and verdicts, one photo at a time and in batches."""
    reasoner.sight = replace(reasoner.sight, views=1)
    tokens = len(reasoner.layout.template)
    start = reasoner.layout.answer_start
    print(f"{tokens} tokens: {start} of the prompt with its pictures, {tokens - start} of the answer; one view")
    for batch in BATCHES:
        groups = [photos[at : at + batch] for at in range(0, len(photos) - batch + 1, batch)]
        # one photo at a time: every round takes the next one
        sides: dict[str, Callable[[list[np.ndarray]], object]] = {
            "generate": lambda group: generate(reasoner, group),
            "constrained": reasoner.read,
            "score": reasoner.score_severities,
            "prepare": lambda group: prepare(reasoner, group),
        }
        turns = {name: _cycle(action, groups) for name, action in sides.items()}
        with torch.inference_mode():
            took = take_turns(turns, rounds, f"batches of {batch}")
        for name in sides:
            print(f"batch {batch:2d}  {name:11}  {took[name] / batch:8.4f} s a photo")
        less = took["prepare"]
        for name, times in REQUIRED.items():
            whole, model = took["generate"] / took[name], (took["generate"] - less) / (took[name] - less)
            verdict(
                whole >= times,
                f"batch {batch:2d}, {name} at least {times:g} times faster than generate",
                f"{whole:.2f} times; {model:.2f} without the preparation of the pictures",
            )


def _cycle(action: Callable[[list[np.ndarray]], object], groups: list[list[np.ndarray]]) -> Callable[[], object]:
    turn = iter(range(10**9))
    return lambda: action(groups[next(turn) % len(groups)])


def diagnose_files(reasoner: Reasoner, photo: np.ndarray, rounds: int, most: float) -> None:
    """Print seconds of whole diagnoses, all views and the decoding of the file included, by size in megapixels."""
    with tempfile.TemporaryDirectory() as name:
        paths = {}
        for size in (size for size in MEGAPIXELS if size <= most):
            share = (size * 1e6 / (photo.shape[0] * photo.shape[1])) ** 0.5
            shape = (round(photo.shape[1] * share), round(photo.shape[0] * share))
            paths[size] = Path(name) / f"{size}.jpg"
            Image.fromarray(photo).resize(shape, Image.Resampling.BICUBIC).save(paths[size], quality=92)
        sides = {f"{size}": lambda path=path: reasoner.diagnose([decode(path).pixels]) for size, path in paths.items()}
        sides |= {f"{size} decode": lambda path=path: decode(path) for size, path in paths.items()}
        took = take_turns(sides, rounds, "whole diagnoses")
    for size in paths:
        print(f"diagnose {size:5} MP  {took[f'{size}']:8.4f} s, of which {took[f'{size} decode']:.4f} s decoding")
    slowest = max(paths, key=lambda size: took[f"{size}"])
    seen = f"{took[f'{slowest}']:.2f} s for {slowest} megapixels, decoding included"
    verdict(took[f"{slowest}"] <= MOST_SECONDS, f"a photo of any size in at most {MOST_SECONDS} s", seen)


def any_pictures(photos: list[np.ndarray], seed: int) -> Iterator[np.ndarray]:
    """Endless pictures (H, W, 3) uint8 of the kinds STRANGE and ORDINARY in turn: what breaks things, and photos."""
    generator = np.random.default_rng(seed)
    while True:
        for kind in (*STRANGE, *ORDINARY):
            height, width = generator.integers(LEAST, MOST + 1, 2).tolist()
            if kind in ("16x16", "1x1"):
                height = width = int(kind.partition("x")[0])
            if kind in ("wide", "tall"):
                thin, long = int(generator.integers(1, 9)), MOST
                height, width = (thin, long) if kind == "wide" else (long, thin)
            if kind in ("black", "white"):
                yield np.full((height, width, 3), 255 * (kind == "white"), np.uint8)
            elif kind in ORDINARY:
                photo = photos[int(generator.integers(len(photos)))]
                if kind == "photo":
                    yield np.asarray(Image.fromarray(photo).resize((width, height)))
                    continue
                top, left = (int(generator.integers(max(1, side - MOST))) for side in photo.shape[:2])
                yield photo[top : top + height, left : left + width]
            else:
                yield generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def count_parsed(reasoner: Reasoner, photos: list[np.ndarray], count: int) -> int:
    """How many of `count` diagnoses of all kinds of pictures parse; the first that does not is printed."""
    parsed = 0
    source = any_pictures(photos, 1)
    starts = range(0, count, PARSED_AT_ONCE)
    for start in storage.progress(starts, len(starts), f"batches of {PARSED_AT_ONCE} diagnoses"):
        group = list(islice(source, min(PARSED_AT_ONCE, count - start)))
        for number, diagnosis in enumerate(reasoner.diagnose(group)):
            valid = parses(diagnosis.to_json())
            parsed += valid
            if not valid and parsed == start + number:
                print(f"does not parse: {diagnosis.to_json()}")
    return parsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", required=True, help="folder of a reasoner, or one that holds reasoner/")
    parser.add_argument("--photos", type=Path, default=Path("data/photos"), help="folder of photos")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--count", type=int, default=32, help="photos that take turns (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="(default: %(default)s)")
    parser.add_argument("--most-megapixels", type=float, default=MEGAPIXELS[-1], help="(default: %(default)s)")
    parser.add_argument("--parse", type=int, metavar="N", help="count the answers that parse, instead of seconds")
    args = parser.parse_args()
    logging.set_verbosity_error()
    folder = Path(args.model)
    reasoner = Reasoner(folder / "reasoner" if (folder / "reasoner").is_dir() else folder, args.device)
    photos = load_photos(args.photos, max(args.count, max(BATCHES)))
    if args.parse:
        began = time.perf_counter()
        parsed = count_parsed(reasoner, photos, args.parse)
        seen = f"{parsed} of {args.parse} answers parse; {time.perf_counter() - began:.0f} s"
        verdict(parsed == args.parse, "every answer parses", seen)
        return
    print(f"{torch.get_num_threads()} threads, {args.device}")
    # all views first: the comparison looks at one
    diagnose_files(reasoner, photos[0], max(1, args.rounds // 3), args.most_megapixels)
    compare(reasoner, photos, args.rounds)


if __name__ == "__main__":
    main()
