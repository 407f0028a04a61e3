"""What must hold for any picture, any size, any level and any seed: ranges, determinism, batches, monotony."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from scipy.stats import spearmanr

from components.degradations import kernels, light, particles, presets, severity
from components.degradations import recipe as recipes
from components.diagnosis import TYPES
from tests.tiny import REPOSITORY

LEVELS = st.floats(0, 1, allow_nan=False)
SEEDS = st.integers(0, 2**31 - 1)
SIZES = st.tuples(st.integers(1, 48), st.integers(1, 48))
# hypothesis looks for counterexamples by itself; what it finds must not depend on the clock or on earlier runs
SEARCH = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def step(kind: str, level: float, seed: int) -> dict:
    return recipes.make_step(kind, level, torch.Generator().manual_seed(seed))


def picture(size: tuple[int, int], seed: int) -> torch.Tensor:
    return torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", TYPES)
@SEARCH
@given(size=SIZES, level=LEVELS, seed=SEEDS)
def test_any_picture_stays_a_picture(kind, size, level, seed):
    image = picture(size, seed)
    recipe = [step(kind, level, seed)]
    done = recipes.degrade(image, [recipe])
    assert done.shape == image.shape and done.dtype == torch.float32
    assert float(done.min()) >= 0 and float(done.max()) <= 1
    again = recipes.degrade(image, [json.loads(json.dumps(recipe))])
    assert torch.equal(done, again)


@pytest.mark.parametrize("kind", TYPES)
@SEARCH
@given(levels=st.lists(LEVELS, min_size=2, max_size=3, unique=True), seed=SEEDS)
def test_parameters_other_than_the_damage_do_not_depend_on_the_level(kind, levels, seed):
    first, *others = (step(kind, level, seed) for level in levels)
    grows = {"beta", "density", "opacity", "mist", "exposure_ev", "gamma", "extent_px", "sigma", "shot", "read"}
    grows |= {"quality"}
    for other in others:
        assert first["seed"] == other["seed"]
        assert {k: v for k, v in first["params"].items() if k not in grows} == {
            k: v for k, v in other["params"].items() if k not in grows
        }


@SEARCH
@given(seed=SEEDS, depth=st.integers(0, 3))
def test_a_sample_does_not_depend_on_its_batch(seed, depth):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand((4, 3, 40, 56), generator=generator)
    batch = [recipes.sample_recipe(recipes.sample_types((depth + i) % 4, generator), generator) for i in range(4)]
    together = recipes.degrade(images, batch)
    for index, recipe in enumerate(batch):
        alone = recipes.degrade(images[index : index + 1], [recipe])
        assert torch.equal(together[index : index + 1], alone)


@pytest.mark.parametrize("preset", ["cdd11", "miori", "realesrgan", "imagecorruptions"])
@SEARCH
@given(number=st.integers(0, 80), seed=SEEDS)
def test_presets_give_recipes_that_replay(preset, number, seed):
    case, recipe = presets.draw(preset, number, torch.Generator().manual_seed(seed))
    image = picture((40, 48), seed)
    done = recipes.degrade(image, [recipe])
    assert torch.equal(done, recipes.degrade(image, [json.loads(json.dumps(recipe))]))
    assert case in (*TYPES, "mixture2", "mixture3") and not torch.equal(done, image)


@pytest.fixture(scope="module")
def all_photos() -> list[np.ndarray]:
    """Every built-in photo as (128, 128, 3) uint8."""
    paths = sorted((REPOSITORY / "data/photos").glob("*.jpg"))
    return [np.asarray(ImageOps.fit(Image.open(path).convert("RGB"), (128, 128))) for path in paths]


@pytest.mark.parametrize("kind", TYPES)
def test_severity_grows_with_the_level(kind, all_photos):
    """On at least 98% of photos, over steps of a fifth of the range; every photo with a seed of its own."""
    grown = 0
    for seed, photo in enumerate(all_photos):
        found = [
            severity.severity_of(kind, severity.psnr(photo, recipes.apply_recipe(photo, [step(kind, level, seed)])))
            for level in np.linspace(0, 1, 6)
        ]
        grown += all(a <= b for a, b in itertools.pairwise(found))
    assert grown >= 0.98 * len(all_photos)


@pytest.mark.parametrize("kind", TYPES)
def test_severity_ranks_photos_as_the_lost_decibels_do(kind, photos):
    decibels, found = [], []
    for seed, photo in enumerate(photos):
        for place, level in enumerate(np.linspace(0, 1, 6)):
            recipe = [step(kind, level, 10 * seed + place)]
            degraded = recipes.apply_recipe(photo, recipe)
            decibels.append(severity.psnr(photo, degraded))
            found.append(severity.measure(photo, recipe, degraded)[TYPES.index(kind)])
    assert spearmanr(found, decibels).statistic < -0.95
    assert min(found) < 25 and max(found) > 75


def test_kernels_convolve_as_the_definition_says():
    generator = torch.Generator().manual_seed(1)
    image = torch.rand((2, 3, 12, 15), generator=generator)
    kernel = torch.rand((5, 3), generator=generator)
    kernel /= kernel.sum()
    done = kernels.convolve(image, [kernel, kernel])
    y, x = 6, 7
    expected = sum(kernel[j, i] * image[1, 2, y + 2 - j, x + 1 - i] for j in range(5) for i in range(3))
    assert float(done[1, 2, y, x]) == pytest.approx(float(expected), abs=1e-5)
    dense = kernels._dense(image[1], kernel)
    assert torch.allclose(dense, done[1], atol=1e-5)


def test_particles_stand_where_they_should_in_a_large_photo():
    field = particles.Field(6000, 4000, 2.0, 8.0, torch.device("cpu"))
    place = torch.tensor([[5990.0, 3990.0], [10.0, 20.0]])
    one = torch.ones(2)
    field.draw_flakes(place, 2 * one, 1.0, 0.0, 0.0, one)
    field.draw_strokes(place + 5, 0 * one, 2 * one, 1.0, one)
    seen = field.opacity()
    assert seen.shape == (6000, 4000) and float(seen[5990, 3990]) == 1 and float(seen[10, 20]) == 1
    assert {tuple(p) for p in seen.nonzero().tolist()} >= {(5995, 3995), (15, 25)}
    assert float(seen.sum()) == pytest.approx(2 * (3.14 * 4 + 1.5), rel=0.15)


def test_normal_deviates_are_normal():
    drawn = light.normal((3, 100, 100), [torch.Generator().manual_seed(5)])[0].flatten()
    assert float(drawn.mean()) == pytest.approx(0, abs=0.03) and float(drawn.std()) == pytest.approx(1, abs=0.02)
    assert float((drawn.abs() < 1).float().mean()) == pytest.approx(0.6827, abs=0.01)
    assert 3.5 < float(drawn.abs().max()) < 4.5


GOLDEN = """
import hashlib, torch
import numpy as np
from components.degradations import recipe as recipes
from components.diagnosis import TYPES
y, x = np.mgrid[0:72, 0:96]
photo = np.stack([x * 2, (x * y) // 27 % 256, 255 - y * 3], -1).astype(np.uint8)
for number, kind in enumerate(TYPES):
    digest = hashlib.sha256()
    for level in (0.1, 0.5, 1.0):
        for seed in range(3):
            step = recipes.make_step(kind, level, torch.Generator().manual_seed(seed))
            digest.update(recipes.apply_recipe(photo, [step]).tobytes())
    print(kind, digest.hexdigest()[:16])
"""


def golden(**environment: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", GOLDEN], cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return dict(line.split() for line in done.stdout.splitlines())


def test_golden_pictures():
    """The bytes of every degradation; whoever changes the physics on purpose writes the new ones down here."""
    stored = json.loads((REPOSITORY / "tests/degradations/golden.json").read_text(encoding="utf-8"))
    assert golden() == stored


@pytest.mark.parametrize(
    "machine", [{"ATEN_CPU_CAPABILITY": "avx2"}, {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "3"}]
)
def test_another_machine_gives_the_same_bytes(machine):
    """Fewer vector instructions and other numbers of threads, as another machine has them."""
    assert golden(**machine) == golden()
