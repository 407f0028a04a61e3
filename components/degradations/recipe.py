"""A recipe: what was done to a clean photo, in the order of nature, with every parameter and seed.

    from components.degradations import recipe
    recipe.degrade(images, recipes)          # images (B, 3, H, W) in [0, 1], one recipe a sample, CPU or GPU
    recipe.apply_recipe(photo, steps)        # photo (H, W, 3) uint8

On CPU the result of a sample is the same bit for bit whatever its batch, thread count and machine. A step is
`{"type": "haze", "level": 0.4, "seed": 123, "params": {...}, "factors": {...}}`, JSON as it stands; `params` are
what the physics takes, `factors` what a diagnosis says of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch

from components.degradations import blur, haze, jpeg, low_light, noise, rain, snow
from components.degradations.light import from_bytes, to_bytes
from components.diagnosis import TYPES

MODULES: dict[str, ModuleType] = {
    "haze": haze,
    "rain": rain,
    "snow": snow,
    "low_light": low_light,
    "blur": blur,
    "noise": noise,
    "jpeg": jpeg,
}
# air, then lens, then the sensor (exposure, then its noise), then the codec
NATURE = ("haze", "rain", "snow", "blur", "low_light", "noise", "jpeg")
# what does not occur together: rain and snow hide each other's streaks
EXCLUSIVE = ({"rain", "snow"},)
# data sets start where most photos show something; the calibration covers the whole range from 0
LEAST_LEVEL = 0.15


def sample_types(count: int, generator: torch.Generator) -> list[str]:
    """`count` different types that can occur together, uniformly, in the order of nature."""
    while True:
        order = torch.randperm(len(TYPES), generator=generator)[:count].tolist()
        types = {TYPES[i] for i in order}
        if not any(pair <= types for pair in EXCLUSIVE):
            return [t for t in NATURE if t in types]


def make_step(kind: str, level: float, generator: torch.Generator) -> dict:
    """One step at `level` in [0, 1] with random other parameters and a seed of its own."""
    level = round(level, 6)
    seed = int(torch.randint(2**31, (), generator=generator))
    return step_of(kind, level, seed, MODULES[kind].sample(level, generator))


def step_of(kind: str, level: float, seed: int, parameters: dict) -> dict:
    """A step with parameters given outright."""
    factors = MODULES[kind].factors(parameters)
    return {"type": kind, "level": level, "seed": seed, "params": parameters, "factors": factors}


def sample_recipe(types: list[str], generator: torch.Generator, least: float = LEAST_LEVEL) -> list[dict]:
    """Random levels in [least, 1] and parameters for `types` (already in the order of nature)."""
    return [
        make_step(kind, least + (1 - least) * float(torch.rand((), generator=generator)), generator) for kind in types
    ]


def degrade(
    images: torch.Tensor, recipes: Sequence[list[dict]], depth: torch.Tensor | None = None
) -> torch.Tensor:  # fmt: skip
    """(B, 3, H, W) in [0, 1] degraded, each sample by its own recipe, in the order in which its steps stand.

    `depth` (B, 1, H, W) in [0, 1] is the depth of the scenes, else a plausible one is made where it is needed.
    Samples that come to the same type at the same time are done together.
    """
    out, place = images, [0] * len(recipes)
    while True:
        waiting: dict[str, list[int]] = {}
        for index, steps in enumerate(recipes):
            if place[index] < len(steps):
                waiting.setdefault(steps[place[index]]["type"], []).append(index)
        if not waiting:
            return out
        # the earliest in nature first: later types wait until more samples have come to them
        kind = min(waiting, key=NATURE.index)
        chosen = waiting[kind]
        steps_now = [recipes[index][place[index]] for index in chosen]
        generators = [torch.Generator(images.device).manual_seed(step["seed"]) for step in steps_now]
        parameters = [step["params"] for step in steps_now]
        if len(chosen) == len(recipes):
            out = MODULES[kind].apply(out, parameters, generators, depth).clamp_(0, 1)
        else:
            rows = torch.tensor(chosen, device=images.device)
            seen = None if depth is None else depth[rows]
            done = MODULES[kind].apply(out[rows], parameters, generators, seen)
            out = out.index_copy(0, rows, done.clamp_(0, 1))
        for index in chosen:
            place[index] += 1


def apply_recipe(clean: np.ndarray, recipe: list[dict], depth: np.ndarray | None = None) -> np.ndarray:
    """(H, W, 3) uint8 degraded as the recipe says; the 8-bit rounding comes once, at the end.

    `depth` (H, W) in [0, 1], where the recipe was made with one.
    """
    if not recipe:
        return clean.copy()
    far = None if depth is None else torch.from_numpy(np.array(depth, dtype=np.float32))[None, None]
    return to_bytes(degrade(from_bytes([clean]), [recipe], far))[0]
