"""A recipe: what was done to a clean photo, in the order of nature, with every parameter and seed.

`apply_recipe` replays it bit for bit on CPU. A step is
`{"type": "haze", "level": 0.4, "seed": 123, "params": {...}, "factors": {...}}`, JSON as it stands; `params` are
what the physics takes, `factors` what a diagnosis says of them.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch

from components.degradations import blur, haze, jpeg, low_light, noise, rain, snow
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
# scene (darkness) and air, then lens, sensor, codec
NATURE = ("low_light", "haze", "rain", "snow", "blur", "noise", "jpeg")
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


def sample_recipe(types: list[str], generator: torch.Generator, least: float = LEAST_LEVEL) -> list[dict]:
    """Random levels in [least, 1] and parameters for `types` (already in the order of nature)."""
    recipe = []
    for kind in types:
        level = least + (1 - least) * float(torch.rand((), generator=generator))
        level = round(level, 6)
        seed = int(torch.randint(2**31, (), generator=generator))
        parameters = MODULES[kind].sample(level, generator)
        factors = MODULES[kind].factors(parameters)
        recipe.append({"type": kind, "level": level, "seed": seed, "params": parameters, "factors": factors})
    return recipe


def apply_recipe(clean: np.ndarray, recipe: list[dict]) -> np.ndarray:
    """(H, W, 3) uint8 degraded as the recipe says; the 8-bit rounding comes once, at the end."""
    image = torch.from_numpy(clean.copy()).permute(2, 0, 1).float() / 255
    for step in recipe:
        generator = torch.Generator().manual_seed(step["seed"])
        image = MODULES[step["type"]].apply(image, step["params"], generator).clamp(0, 1)
    return (image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
