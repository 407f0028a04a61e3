"""The degradations on real photos: shapes, ranges, replay, and damage that grows with the level."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from components.degradations import recipe as recipes
from components.degradations import severity
from components.degradations.kernels import convolve, disk_kernel, gaussian_line, line_kernel, shake_kernel
from components.degradations.light import to_linear, to_srgb
from components.diagnosis import TYPES, Diagnosis, Finding


def one_step(kind: str, level: float, seed: int = 3) -> dict:
    return recipes.make_step(kind, level, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", TYPES)
def test_damage_grows_with_the_level(kind, photos):
    for photo in photos:
        damage = [severity.psnr(photo, recipes.apply_recipe(photo, [one_step(kind, level)])) for level in (0.2, 0.6, 1)]
        assert damage[0] > damage[1] > damage[2]


@pytest.mark.parametrize("kind", TYPES)
def test_factors_are_what_a_diagnosis_may_state(kind):
    for level in (0.0, 0.5, 1.0):
        factors = recipes.MODULES[kind].factors(one_step(kind, level)["params"])
        Diagnosis(findings={kind: Finding(severity=50, factors=factors)})


def test_a_recipe_in_json_replays_bit_for_bit(photos):
    generator = torch.Generator().manual_seed(11)
    for photo in photos:
        recipe = recipes.sample_recipe(recipes.sample_types(3, generator), generator)
        first = recipes.apply_recipe(photo, recipe)
        again = recipes.apply_recipe(photo, json.loads(json.dumps(recipe)))
        assert first.shape == photo.shape and first.dtype == np.uint8
        assert np.array_equal(first, again)


def test_an_empty_recipe_changes_nothing(photos):
    assert np.array_equal(recipes.apply_recipe(photos[0], []), photos[0])
    assert severity.measure(photos[0], [], photos[0]) == [0.0] * len(TYPES)


def test_mixtures_come_in_the_order_of_nature_and_never_rain_with_snow():
    generator = torch.Generator().manual_seed(5)
    for _ in range(200):
        types = recipes.sample_types(3, generator)
        assert types == [t for t in recipes.NATURE if t in types]
        assert not {"rain", "snow"} <= set(types)


@pytest.mark.parametrize("size", [(1, 1), (7, 30), (64, 16)])
@pytest.mark.parametrize("kind", TYPES)
def test_any_size_is_degraded(kind, size):
    photo = np.full((*size, 3), 128, np.uint8)
    assert recipes.apply_recipe(photo, [one_step(kind, 1.0)]).shape == photo.shape


KERNELS = [
    gaussian_line(2.0)[None],
    disk_kernel(3.5),
    line_kernel(12, 30),
    shake_kernel(18, torch.Generator().manual_seed(1)),
]


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_keep_light(kernel):
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-5)
    flat = convolve(torch.full((1, 3, 40, 40), 0.4), [kernel])
    assert torch.allclose(flat, torch.full_like(flat, 0.4), atol=1e-4)


def test_light_conversion_is_its_own_inverse():
    values = torch.linspace(0, 1, 256).view(1, 16, 16).expand(3, -1, -1)
    assert torch.allclose(to_srgb(to_linear(values)), values, atol=6e-4)
    # and not one of 256 values comes back as another
    assert torch.equal((to_srgb(to_linear(values)) * 255).round(), (values * 255).round())


def test_severity_follows_the_calibration():
    for kind in TYPES:
        ends = severity.calibration()[kind]
        assert severity.severity_of(kind, ends["visible"] + 1) == 0
        assert severity.severity_of(kind, ends["visible"]) == 1
        assert severity.severity_of(kind, ends["worst"] - 5) == 100
