"""Published protocols as recipes of our own physics, so that results can be set beside papers.

`synthesize.preset` of params.yaml, or `presets.draw("cdd11", number, generator)`. Ranges are those of the papers
and their code; where a protocol needs files that nobody can draw again (masks of rain and snow, depth maps), the
masks are our streaks and flakes and the depth is ours. `docs/presets.md` says line by line what is the same.

cdd11: OneRestore (Guo et al. 2024), 11 cases of low light, rain, snow and haze, in that order of composition.
miori: MiOIR (Kong et al. 2024), one of blur, noise, JPEG, rain, haze, darkness.
realesrgan: Real-ESRGAN (Wang et al. 2021), two rounds of blur, noise and JPEG, without its resizing.
imagecorruptions: Hendrycks & Dietterich 2019 / Michaelis et al. 2019, the corruptions both have, in five levels.
"""

from __future__ import annotations

from typing import Literal

import torch

from components.degradations import depth, rain, snow
from components.degradations.light import choice, uniform
from components.degradations.recipe import step_of

Preset = Literal["native", "cdd11", "miori", "realesrgan", "imagecorruptions"]

CDD11_CASES = (
    ("low_light",),
    ("haze",),
    ("rain",),
    ("snow",),
    ("low_light", "haze"),
    ("low_light", "rain"),
    ("low_light", "snow"),
    ("rain", "haze"),
    ("snow", "haze"),
    ("low_light", "rain", "haze"),
    ("low_light", "snow", "haze"),
)
MIORI_TYPES = ("blur", "noise", "jpeg", "rain", "haze", "low_light")
CORRUPTIONS = (
    "gaussian_noise",
    "shot_noise",
    "gaussian_blur",
    "defocus_blur",
    "motion_blur",
    "snow",
    "fog",
    "jpeg_compression",
)
# parameter of each corruption at its levels 1..5
CORRUPTION_LEVELS: dict[str, tuple[float, ...]] = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),  # sigma
    "shot_noise": (60, 25, 12, 5, 3),  # photons at white
    "gaussian_blur": (1, 2, 3, 4, 6),  # sigma in px
    "defocus_blur": (3, 4, 6, 8, 10),  # radius in px
    "motion_blur": (10, 15, 15, 15, 20),  # length in px
    "snow": (0.06, 0.11, 0.14, 0.18, 0.24),  # share of the pixels, as counted in its pictures
    "fog": (1.5, 2, 2.5, 2.5, 3),  # beta
    "jpeg_compression": (25, 18, 15, 10, 7),  # quality
}


def draw(preset: str, number: int, generator: torch.Generator) -> tuple[str, list[dict]]:
    """(case, recipe) of pair `number` of a preset other than "native"; its cases come in turn."""
    if preset == "cdd11":
        recipe = _cdd11(CDD11_CASES[number % len(CDD11_CASES)], generator)
    elif preset == "miori":
        recipe = [_miori(MIORI_TYPES[number % len(MIORI_TYPES)], generator)]
    elif preset == "realesrgan":
        recipe = _realesrgan(generator)
    else:
        name, level = CORRUPTIONS[number % len(CORRUPTIONS)], number // len(CORRUPTIONS) % 5
        recipe = [corruption(name, level + 1, generator)]
    types = {step["type"] for step in recipe}
    return (recipe[0]["type"] if len(types) == 1 else f"mixture{len(types)}"), recipe


def _step(kind: str, generator: torch.Generator, parameters: dict) -> dict:
    # a published recipe has no level of ours; 1 stands for "as the protocol says"
    return step_of(kind, 1.0, int(torch.randint(2**31, (), generator=generator)), parameters)


def _haze(generator: torch.Generator, beta: tuple[float, float], air: tuple[float, float]) -> dict:
    grey = uniform(generator, *air)
    parameters = {"beta": uniform(generator, *beta), "airlight": [grey] * 3, **depth.sample(generator), "space": "srgb"}
    return _step("haze", generator, parameters)


def _cdd11(types: tuple[str, ...], generator: torch.Generator) -> list[dict]:
    steps = []
    for kind in types:
        if kind == "haze":
            steps.append(_haze(generator, (1.0, 2.0), (0.6, 0.9)))
        elif kind == "low_light":
            power = {"gamma": uniform(generator, 2, 3), "sigma": uniform(generator, 0.03, 0.08)}
            steps.append(_step(kind, generator, {"model": "retinex", **power}))
        else:
            module, clear = (rain, {"mist": 0.0}) if kind == "rain" else (snow, {"mist": 0.0})
            level = uniform(generator, 0.3, 1)
            steps.append(_step(kind, generator, {**module.sample(level, generator), **clear}))
    return steps


def _miori(kind: str, generator: torch.Generator) -> dict:
    if kind == "haze":
        return _haze(generator, (0.5, 2.5), (0.8, 1.0))
    if kind == "blur":
        return _blur("gaussian", 4 * uniform(generator, 1, 3), generator)
    if kind == "noise":
        return _gaussian_noise(round(uniform(generator, 15, 50)) / 255, generator)
    if kind == "jpeg":
        return _jpeg(uniform(generator, 30, 70), generator)
    if kind == "low_light":
        return _step(kind, generator, {"model": "power", "gamma": uniform(generator, 1, 3), "sigma": 0.0})
    streaks = rain.sample(uniform(generator, 0.5, 1), generator)
    streaks |= {"length_px": uniform(generator, 20, 40), "angle_deg": uniform(generator, -45, 45), "mist": 0.0}
    return _step(kind, generator, streaks)


def _realesrgan(generator: torch.Generator) -> list[dict]:
    steps = []
    for sigmas, noises in (((0.2, 3.0), (1, 30)), ((0.2, 1.5), (1, 25))):
        steps.append(_blur("gaussian", 4 * uniform(generator, *sigmas), generator))
        steps.append(_gaussian_noise(uniform(generator, *noises) / 255, generator))
        steps.append(_jpeg(uniform(generator, 30, 95), generator))
    return steps


def corruption(name: str, level: int, generator: torch.Generator) -> dict:
    """One step like corruption `name` of imagecorruptions at level 1..5."""
    value = CORRUPTION_LEVELS[name][level - 1]
    if name == "gaussian_noise":
        return _gaussian_noise(value, generator)
    if name == "shot_noise":
        camera = {"red_gain": 1.0, "blue_gain": 1.0, "overlap": 0.0, "correlation_px": 0.0}
        return _step("noise", generator, {"model": "camera", "shot": round(1 / value, 6), "read": 0.0, **camera})
    if name.endswith("_blur"):
        kind = name.removesuffix("_blur")
        extent = {"gaussian": 4 * value, "defocus": 2 * value, "motion": value}[kind]
        return _blur(kind, extent, generator)
    if name == "snow":
        return _step("snow", generator, {**snow.sample(0.5, generator), "density": value, "mist": 0.1 * level})
    if name == "fog":
        return _haze(generator, (value, value), (0.8, 0.95))
    return _jpeg(value, generator)


def _blur(kind: str, extent_px: float, generator: torch.Generator) -> dict:
    angle = uniform(generator, -45, 45) if kind == "motion" else 0.0
    return _step("blur", generator, {"kind": kind, "extent_px": round(extent_px, 6), "angle_deg": angle})


def _gaussian_noise(sigma: float, generator: torch.Generator) -> dict:
    return _step("noise", generator, {"model": "gaussian", "sigma": round(sigma, 6), "correlation_px": 0.0})


def _jpeg(quality: float, generator: torch.Generator) -> dict:
    return _step("jpeg", generator, {"quality": float(round(quality)), "subsampling": choice(generator, ("4:2:0",))})
