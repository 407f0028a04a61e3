"""Degradations as other people's code makes them: what training must not take for granted about ours.

Our physics mixes in linear light, has depth behind its fog and three layers of drops in its rain. Data sets and
libraries add streaks of one length in sRGB, lay an even, round or patchy veil over everything, scale or clip the
tones, blur and speckle in sRGB. A network that knows ours alone takes theirs for something else, or for nothing.

`draw` gives recipes of the same seven types in these forms, with ranges as wide as sense allows. Fog, streaks and
darkness of components/evaluation/strange.py are not among them and stay unseen; noise, speckle, a disk in sRGB and the
codec are the same formulae everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from components.degradations import blur, depth, haze, jpeg, rain, snow
from components.degradations.light import choice, uniform
from components.degradations.recipe import step_of


def draw(types: list[str], generator: torch.Generator) -> list[dict]:
    """A recipe of `types`, in their order, each in a form that is not ours; its level is a strength in [0.15, 1]."""
    steps = []
    for kind in types:
        level = uniform(generator, 0.15, 1)
        seed = int(torch.randint(2**31, (), generator=generator))
        steps.append(step_of(kind, level, seed, FORMS[kind](level, generator)))
    return steps


def _haze(level: float, generator: torch.Generator) -> dict:
    veiled = haze.sample(level, generator)
    grey, tint = uniform(generator, 0.55, 1.0), uniform(generator, -0.08, 0.08)
    veiled["airlight"] = [round(min(1.0, max(0.0, grey + part)), 6) for part in (tint, 0.0, -tint)]
    veiled["space"] = choice(generator, ("srgb", "srgb", "linear"))
    form = choice(generator, depth.FORMS)
    # an even veil is as thick everywhere as ours is far away
    thickness = {"even": 0.6, "round": 1.0, "patchy": 1.2}[form]
    veiled["beta"] = round(thickness * (0.1 + 2.2 * level**1.3), 6)
    return veiled | _form(form, generator)


def _form(form: str, generator: torch.Generator) -> dict:
    return {
        "form": form,
        "floor": uniform(generator, 0.0, 0.5),
        "centre": [uniform(generator, 0.2, 0.8), uniform(generator, 0.2, 0.8)],
        "roughness": uniform(generator, 1.3, 2.6),
    }


def _rain(level: float, generator: torch.Generator) -> dict:
    return rain.sample(level, generator) | {
        "model": "sheet",
        "density": round((0.02 + 0.25 * level) * uniform(generator, 0.4, 1.3), 6),
        "length_px": round(math.exp(uniform(generator, math.log(7), math.log(60))), 6),
        "angle_deg": uniform(generator, -50, 50),
        "spread_deg": uniform(generator, 0, 2),
        "width_px": uniform(generator, 0.8, 3.2),
        "opacity": round((0.15 + 0.6 * level) * uniform(generator, 0.7, 1.3), 6),
        "mist": 0.0,
    }


def _snow(level: float, generator: torch.Generator) -> dict:
    return snow.sample(level, generator) | {
        "density": round((0.004 + 0.22 * level) * uniform(generator, 0.5, 1.5), 6),
        "flake_px": round(math.exp(uniform(generator, math.log(1.5), math.log(9))), 6),
        "motion_px": uniform(generator, 0, 16),
        "angle_deg": uniform(generator, -60, 60),
        "mist": round(uniform(generator, 0, 0.8) * level, 6),
        "form": "even",
    }


def _low_light(level: float, generator: torch.Generator) -> dict:
    model = choice(generator, ("levels", "levels", "power", "retinex"))
    grain = uniform(generator, 0, 0.02) if uniform(generator, 0, 1) < 0.5 else 0.0
    if model != "levels":
        return {"model": model, "gamma": round(1 + 2.6 * level, 6), "sigma": grain}
    # a scale of the tones, a step off their dark end, or both
    black = round(uniform(generator, 0, 0.2) * level, 6) if uniform(generator, 0, 1) < 0.6 else 0.0
    scale = round(1 - (0.9 if black == 0 else 0.6) * level, 6)
    return {"model": model, "gamma": 1.0, "black": black, "scale": scale, "sigma": grain}


def _blur(level: float, generator: torch.Generator) -> dict:
    return blur.sample(level, generator) | {"space": "srgb"}


def _noise(level: float, generator: torch.Generator) -> dict:
    model = choice(generator, ("gaussian", "speckle"))
    most = {"gaussian": 100, "speckle": 130}[model] / 255
    blotch = float(choice(generator, ("0", "0", "0.5", "0.9")))
    return {"model": model, "sigma": round(4 / 255 + most * level**1.5, 6), "correlation_px": blotch}


def _jpeg(level: float, generator: torch.Generator) -> dict:
    return {"quality": float(round(90 - 84 * level)), "subsampling": choice(generator, jpeg.SUBSAMPLINGS)}


FORMS: dict[str, Callable[[float, torch.Generator], dict]] = {
    "haze": _haze,
    "rain": _rain,
    "snow": _snow,
    "low_light": _low_light,
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
}
