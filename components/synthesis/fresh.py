"""Training pictures that no one has seen before: drawn when they are asked for, never stored.

    from components.synthesis.fresh import FreshPairs
    FreshPairs(seed=1).make([0, 1, 2])        # pictures 0, 1 and 2 of an endless series, the same whenever asked for

What the stage `synthesize` does once for every pair of `data/pairs`, with the same physics, looks and calibration.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from components import params, storage
from components.degradations import elsewhere, presets, severity
from components.degradations import recipe as recipes
from components.degradations.light import from_bytes, to_bytes
from components.diagnosis import TYPES
from components.storage import parquet
from components.synthesis import pairs
from components.synthesis.depths import GENERATED

# so many pictures are degraded at once: more do not fit the processor's cache
PER_PASS = 8
# share of pictures that are LARGE times as wide: in a large photo a native crop is not half of the whole
LARGE_SHARE, LARGE = 0.15, 2
# share of pictures degraded by the protocols of others, whose parameters lie elsewhere
PROTOCOL_SHARE, PROTOCOLS = 0.12, ("cdd11", "miori", "realesrgan")
# share of the others whose degradations are made as other code than ours makes them
ELSEWHERE_SHARE = 0.3


@dataclass(frozen=True)
class Photo:
    """A clean photo with halved copies of itself, (H, W, 3) uint8 each, from which regions are cut cheaply."""

    photo_id: str
    scene: str
    objects: list[str]
    halves: list[np.ndarray]


@dataclass(frozen=True)
class Fresh:
    """A degraded region and what it was made from; pictures (H, W, 3) uint8, severities in the order of TYPES."""

    degraded: np.ndarray
    clean: np.ndarray
    recipe: list[dict]
    severities: list[float]
    scene: str
    objects: list[str]


class FreshPairs:
    """An endless series of training pairs; number i is the same whatever was made before, and in any company."""

    def __init__(self, seed: int, clean: str | Path = "data/clean") -> None:
        self.config = params.load("synthesize", pairs.SynthesizeParams)
        if self.config.preset != "native" or self.config.depth != GENERATED:
            raise params.ParamsError(
                "synthesize.preset and synthesize.depth: fresh pictures are of the preset 'native' with depth "
                f"'{GENERATED}'; use these, or set reasoner.fresh_share to 0"
            )
        self.seed = seed
        frame = parquet.read_split(clean, "train", ["photo_id", "scene", "objects", "image"])
        self.photos = [
            Photo(row.photo_id, row.scene, list(row.objects), _halves(storage.decode_image(row.image), self.config))
            for row in frame.itertuples(index=False)
        ]

    def make(self, numbers: list[int]) -> list[Fresh]:
        """Pictures `numbers` of the series."""
        drawn = [self._draw(number) for number in numbers]
        return [
            fresh for start in range(0, len(drawn), PER_PASS) for fresh in _degrade(drawn[start : start + PER_PASS])
        ]

    def _draw(self, number: int) -> tuple[Photo, np.ndarray, list[dict]]:
        """The photo, its clean region in some look, and the recipe of picture `number`."""
        generator = pairs.pair_generator(self.seed, "fresh", number)
        photo = self.photos[int(torch.randint(len(self.photos), (), generator=generator))]
        height, width = photo.halves[0].shape[:2]
        size = self.config.pair_size
        if min(height, width) >= LARGE * size and float(torch.rand((), generator=generator)) < LARGE_SHARE:
            size *= LARGE
        left, top, side = pairs.draw_box(height, width, size, self.config.native_share, generator)
        look = pairs.draw_look(self.config, generator)
        if float(torch.rand((), generator=generator)) < PROTOCOL_SHARE:
            protocol, case = torch.randint(1 << 20, (2,), generator=generator).tolist()
            _, recipe = presets.draw(PROTOCOLS[protocol % len(PROTOCOLS)], case, generator)
        else:
            _, recipe = pairs.draw_recipe(self.config, "train", photo.photo_id, number, generator)
            if float(torch.rand((), generator=generator)) < ELSEWHERE_SHARE:
                recipe = elsewhere.draw([step["type"] for step in recipe], generator)
        half = max(level for level in range(len(photo.halves)) if side >> level >= size or level == 0)
        box = [left >> half, top >> half, side >> half]
        return photo, pairs.region_of(photo.halves[half], box, look, size), recipe


def _halves(image: np.ndarray, config: pairs.SynthesizeParams) -> list[np.ndarray]:
    halves = [image]
    while min(halves[-1].shape[:2]) >= 2 * config.pair_size:
        halves.append(np.asarray(Image.fromarray(halves[-1]).reduce(2)))
    return halves


def _types(recipe: list[dict]) -> list[str]:
    """The types of a recipe, each once."""
    return list(dict.fromkeys(step["type"] for step in recipe))


def _degrade(drawn: list[tuple[Photo, np.ndarray, list[dict]]]) -> list[Fresh]:
    """Degrade pictures together, each as a whole and, for its severities, by each of its types alone."""
    jobs: dict[int, list[tuple[int, str, list[dict]]]] = {}
    for index, (_, clean, recipe) in enumerate(drawn):
        wanted = [("", recipe)] if recipe else []
        types = _types(recipe)
        if len(types) > 1:
            wanted += [(kind, [step for step in recipe if step["type"] == kind]) for kind in types]
        jobs.setdefault(clean.shape[0], []).extend((index, kind, steps) for kind, steps in wanted)
    made: dict[tuple[int, str], np.ndarray] = {}
    for tasks in jobs.values():
        if tasks:
            images = from_bytes([drawn[index][1] for index, _, _ in tasks])
            done = to_bytes(recipes.degrade(images, [steps for _, _, steps in tasks]))
            made |= {(index, kind): picture for (index, kind, _), picture in zip(tasks, done, strict=True)}
    out = []
    for index, (photo, clean, recipe) in enumerate(drawn):
        degraded = made.get((index, ""), clean)
        types = _types(recipe)
        damage = {
            kind: severity.severity_of(kind, severity.psnr(clean, made[index, kind if len(types) > 1 else ""]))
            for kind in types
        }
        out.append(
            Fresh(degraded, clean, recipe, [damage.get(kind, 0.0) for kind in TYPES], photo.scene, photo.objects)
        )
    return out
