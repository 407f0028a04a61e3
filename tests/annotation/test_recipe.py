"""The `recipe` teacher: grounded, varied, and the same for ever."""

from __future__ import annotations

import hashlib
import itertools
import re

import numpy as np
import pytest
import torch

from components.annotation import places, recipe, wording
from components.degradations.recipe import apply_recipe, sample_recipe
from components.diagnosis import EVIDENCE, TYPES, Finding

GOLDEN = "a5a690c081133fcdf637b43404ae7455b4d3054534169643be50af0a2062dfd3"


def painted(seed: int = 0) -> np.ndarray:
    """A (96, 96, 3) picture made of integers only: the same on every machine."""
    rows, columns = np.mgrid[0:96, 0:96]
    return np.stack([(rows * 3 + columns * k + seed * 40) % 200 for k in (1, 2, 5)], -1).astype(np.uint8)


def steps_of(*kinds: str) -> list[dict]:
    """A recipe of given factors; the picture need not agree with it."""
    factors = {
        "haze": {"transmission": 0.5, "airlight": 0.8},
        "rain": {"density": 0.1, "length_px": 20.0, "angle_deg": -0.2},
        "snow": {"density": 0.1, "flake_px": 3.0},
        "low_light": {"exposure_ev": -2.0, "gamma": 1.2},
        "blur": {"kind": "motion", "extent_px": 9.0, "angle_deg": 30.0},
        "noise": {"shot": 0.01, "read": 1e-4},
        "jpeg": {"quality": 20.0},
    }
    return [{"type": kind, "factors": factors[kind]} for kind in kinds]


def told(name: str, severities: dict[str, float], scene: str = "coast") -> list[str]:
    values = [severities.get(kind, 0.0) for kind in TYPES]
    objects = ["sea", "boat"] if scene else []
    return recipe.diagnose(painted(), steps_of(*severities), values, scene, objects, name).reasoning


def test_the_same_name_gives_the_same_words_for_ever():
    texts = [told(f"1/{i}", {kind: 10.0 * i + 5}) for i, kind in enumerate(TYPES)]
    texts += [told("1/clean", {}), told("1/mix", {"blur": 60.0, "haze": 30.0, "jpeg": 80.0}), told("1/x", {}, "")]
    assert hashlib.sha256("\n".join(step for text in texts for step in text).encode()).hexdigest() == GOLDEN


def test_other_pairs_are_told_in_other_words():
    texts = {tuple(told(f"1/{i}", {"haze": 60.0, "noise": 20.0})) for i in range(60)}
    assert len(texts) >= 58
    assert told("1/a", {"haze": 60.0}) == told("1/a", {"haze": 60.0}) != told("2/a", {"haze": 60.0})


def test_every_wording_can_be_said(monkeypatch):
    """All ways, at all severities and places: nothing in braces or angle brackets is left over."""
    measured = dict.fromkeys(EVIDENCE, 0.5)
    factors = {step["type"]: step["factors"] for step in steps_of(*TYPES)}
    cases = [(name, 50.0) for name in (*places.NAMES, places.EVERYWHERE)]
    cases += [("left", severity) for severity in (1.0, 20.0, 50.0, 70.0, 100.0)]
    for turn, (name, severity) in itertools.product(range(len(wording.SCENE)), cases):
        monkeypatch.setattr(wording.Voice, "pick", lambda self, ways, turn=turn: ways[turn % len(ways)])
        monkeypatch.setattr(places, "find", lambda image, kind, name=name: places.Place(name, 0.5, 0.25))
        found = {kind: Finding(severity=severity, factors=factors[kind]) for kind in TYPES}
        voice = wording.Voice("x")
        text = " ".join(
            recipe.think(painted(), measured, found, list(TYPES), "coast", ["sea"], voice)
            + recipe.think(painted(), measured, {}, [], "", [], voice)
        )
        assert not re.search(r"[{}<>]|  | -0 ", text), text
        assert "everity" in text and "0.500" in text


@pytest.mark.parametrize("kind", TYPES)
def test_the_thought_names_what_the_recipe_did(kind, photos):
    steps = sample_recipe([kind], torch.Generator().manual_seed(3))
    picture = apply_recipe(photos[0], steps)
    severities = [62.0 if t == kind else 0.0 for t in TYPES]
    diagnosis = recipe.diagnose(picture, steps, severities, "street", ["car"], "1/p")
    text = " ".join(diagnosis.reasoning)
    assert wording.NAMES.get(kind, kind) in text.replace(kind.capitalize(), kind) and "62 of 100" in text
    assert "street" in diagnosis.reasoning[0] and "car" in diagnosis.reasoning[0]
    assert f"{diagnosis.evidence['brightness']:.2f}" in diagnosis.reasoning[1]
    assert any(phrase in text for phrases in wording.PLACES.values() for phrase in phrases)
    assert diagnosis.findings == {kind: Finding(severity=62.0, factors=steps[0]["factors"])}


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        ([(0, 0)], "upper left"),
        ([(2, 0), (2, 1), (2, 2)], "lower edge"),
        ([(0, 2), (1, 2), (2, 2)], "right edge"),
        ([(0, c) for c in range(3)] + [(1, c) for c in range(3)], "upper two thirds"),
        ([(r, c) for r in range(3) for c in range(3) if (r, c) != (1, 1)], "borders"),
        ([(1, 1)], "centre"),
        ([], "everywhere"),
    ],
)
def test_places_are_named(cells, name):
    grid = np.full((3, 3), 0.2)
    for cell in cells:
        grid[cell] = 0.7
    place = places.strongest(grid)
    assert place.name == name
    assert (place.inside, place.outside) == pytest.approx((0.7, 0.2) if cells else (0.2, 0.2))


@pytest.mark.parametrize("kind", TYPES)
def test_damage_in_one_place_is_found_there(kind, photos):
    """A degraded lower third in an even picture; blur is named where edges are left."""
    rng = np.random.default_rng(0)
    even = np.clip(128 + rng.normal(0, 3, (192, 192, 1)), 0, 255).astype(np.uint8).repeat(3, 2)
    part = even[128:].copy()
    if kind == "haze":
        part[:] = 220
    elif kind == "low_light":
        part[:] = 20
    elif kind in ("rain", "snow"):
        part[8::12, 8::12] = 255
        part[:, 8::12] = np.where(kind == "rain", 255, part[:, 8::12])
    elif kind == "blur":
        part[::4] = 200
    elif kind == "noise":
        part = np.clip(128 + rng.normal(0, 40, part.shape), 0, 255).astype(np.uint8)
    else:
        part[:] = np.kron(rng.integers(60, 200, (8, 24)), np.ones((8, 8)))[..., None].astype(np.uint8)
    even[128:] = part
    place = places.find(even, kind)
    assert place.name == "lower edge" and place.inside > place.outside
