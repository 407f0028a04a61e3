"""Fresh pictures: the same whenever they are asked for, and told the truth about."""

from __future__ import annotations

import numpy as np
import pytest

from components import params
from components.degradations import severity
from components.degradations.recipe import apply_recipe
from components.diagnosis import TYPES
from components.synthesis.fresh import LARGE, FreshPairs
from tests.tiny import write_params


@pytest.fixture
def fresh(workspace, monkeypatch) -> FreshPairs:
    monkeypatch.chdir(workspace)
    return FreshPairs(seed=3)


def test_a_picture_depends_on_its_number_alone(fresh):
    together = fresh.make(list(range(24)))
    alone = fresh.make([17])[0]
    assert np.array_equal(together[17].degraded, alone.degraded)
    assert together[17].recipe == alone.recipe
    assert len({picture.degraded.tobytes() for picture in together}) == 24
    size = fresh.config.pair_size
    assert {picture.clean.shape for picture in together} <= {(s, s, 3) for s in (size, LARGE * size)}


def test_what_is_said_of_a_picture_is_what_was_done_to_it(fresh):
    kinds = set()
    for picture in fresh.make(list(range(40))):
        assert np.array_equal(picture.degraded, apply_recipe(picture.clean, picture.recipe))
        assert picture.severities == severity.measure(picture.clean, picture.recipe, picture.degraded)
        present = {kind for kind, value in zip(TYPES, picture.severities, strict=True) if value}
        assert present <= {step["type"] for step in picture.recipe}
        kinds |= present
    assert len(kinds) >= 6


def test_another_seed_is_another_series(fresh):
    assert not np.array_equal(FreshPairs(seed=4).make([0])[0].degraded, fresh.make([0])[0].degraded)


def test_a_preset_or_depth_maps_are_refused_in_one_line(workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, synthesize={"preset": "cdd11"})
    with pytest.raises(params.ParamsError, match=r"preset 'native'.*set reasoner.fresh_share to 0"):
        FreshPairs(seed=1)


def test_a_share_of_the_pictures_is_degraded_as_other_code_does_it(fresh):
    steps = [step for picture in fresh.make(list(range(200))) for step in picture.recipe]
    rains = [step["params"].get("model", "layers") for step in steps if step["type"] == "rain"]
    hazes = [step["params"].get("form", "scene") for step in steps if step["type"] == "haze"]
    assert set(rains) == {"layers", "sheet"} and {"scene", "even", "round", "patchy"} >= set(hazes) > {"scene"}
