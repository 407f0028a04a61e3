"""Degradations in the forms of other people's code: replayed as ours are, valid to state, and really of other forms."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from components.degradations import depth, elsewhere, rain
from components.degradations import recipe as recipes
from components.degradations.light import from_bytes, to_bytes
from components.diagnosis import TYPES, Diagnosis, Finding


def drawn(types: list[str], seed: int = 0) -> list[dict]:
    return elsewhere.draw(types, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", TYPES)
def test_a_form_is_replayed_from_json_alone_and_in_any_company(kind, photos):
    own = [drawn([kind], seed) for seed in range(6)]
    alone = [recipes.apply_recipe(photos[0], json.loads(json.dumps(recipe))) for recipe in own]
    # beside one of our own forms, which must not feel it either
    ours = recipes.sample_recipe([kind], torch.Generator().manual_seed(1))
    together = to_bytes(recipes.degrade(from_bytes([photos[0]] * 7), [*own, ours]))
    assert np.array_equal(together[-1], recipes.apply_recipe(photos[0], ours))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=False))
    assert len({picture.tobytes() for picture in alone}) == len(alone)


@pytest.mark.parametrize("kind", TYPES)
def test_factors_are_what_a_diagnosis_may_state(kind):
    for seed in range(40):
        Diagnosis(findings={kind: Finding(severity=50, factors=drawn([kind], seed)[0]["factors"])})


@pytest.mark.parametrize("kind", TYPES)
def test_strong_ones_do_more_damage_than_faint_ones(kind, photos):
    steps = [drawn([kind], seed)[0] for seed in range(60)]
    damage = [np.abs(recipes.apply_recipe(photos[1], [step]).astype(float) - photos[1]).mean() for step in steps]
    order = np.argsort([step["level"] for step in steps])
    assert np.mean(np.array(damage)[order[-20:]]) > 1.5 * np.mean(np.array(damage)[order[:20]])


def test_a_sheet_of_rain_is_added_in_srgb():
    step = drawn(["rain"])[0]
    grey = torch.full((1, 3, 64, 64), 0.3)
    wet = rain.apply(grey, [step["params"]], [torch.Generator().manual_seed(step["seed"])])
    cover = rain.streaks(64, 64, step["params"], torch.Generator().manual_seed(step["seed"]))
    assert torch.allclose(wet[0, 0], 0.3 + cover * step["params"]["light"], atol=1e-6)


@pytest.mark.parametrize("form", depth.FORMS)
def test_a_form_of_depth_does_not_follow_the_picture(form):
    params = depth.sample(torch.Generator().manual_seed(1)) | {
        "form": form,
        "floor": 0.2,
        "centre": [0.5, 0.5],
        "roughness": 2.0,
    }
    far = [
        depth.plausible(torch.rand(1, 3, 48, 64), [params], [torch.Generator().manual_seed(2)])[0, 0] for _ in range(2)
    ]
    assert torch.equal(*far) and float(far[0].min()) >= 0.2 and float(far[0].max()) <= 1
    if form == "even":
        assert bool((far[0] == 1).all())
    else:
        assert float(far[0].max() - far[0].min()) > 0.6
    if form == "round":
        assert float(far[0][24, 32]) < 0.25 < 0.9 < float(far[0][0, 0])
