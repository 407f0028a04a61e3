"""Reason, restore, look again: what is done with a result that the second look does not like."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from components import inference
from components.diagnosis import Diagnosis
from components.inference import ModelRefError, Models, Restored
from components.reasoner.reader import Reasoner
from components.restorer.conditioning import CONDITION
from components.restorer.network import Restorer
from tests.tiny import REPOSITORY

LIFT = 80


class Brighter(nn.Module):
    """Stands in for the restorer: LIFT of 255 brighter."""

    def __init__(self, share: float = 0.0) -> None:
        super().__init__()
        self.chosen = share

    @property
    def may_go_on(self) -> bool:
        return self.chosen > 0

    def share(self, before, now):
        assert before.shape == now.shape == (1, CONDITION)
        return torch.tensor([self.chosen])

    def forward(self, image, condition, embedding, whole, sharpened):
        return image + LIFT / 255

    def sharpen(self, image, condition, prints, inside):
        return image


class Eye:
    """Stands in for the reasoner: of a photo of one grey level it says what `said` holds for that level."""

    def __init__(self, said: dict[int, dict[str, tuple[float, float]]]) -> None:
        self.said, self.looks = said, list[int]()

    def diagnose(self, images: list[np.ndarray]) -> list[Diagnosis]:
        assert all(image.dtype == np.uint8 for image in images)
        levels = [int(image.mean()) for image in images]
        self.looks += levels
        return [
            Diagnosis.model_validate(
                {"findings": {k: {"severity": s, "confidence": c} for k, (s, c) in self.said[level].items()}}
            )
            for level in levels
        ]

    def read(self, images: list[np.ndarray]) -> SimpleNamespace:
        return SimpleNamespace(embedding=torch.zeros(len(images), 4), said=self.diagnose(images))

    def diagnoses(self, reading: SimpleNamespace) -> list[Diagnosis]:
        return reading.said


def photo(dtype: type = np.uint8) -> np.ndarray:
    return np.full((30, 20, 3), 100 if dtype is np.uint8 else 25700, dtype)


def restored(said: dict[int, dict[str, tuple[float, float]]], **asked) -> tuple[Restored, list[int]]:
    """What comes of a photo of level 100, and the levels that were looked at."""
    eye = Eye(said)
    models = Models(cast(Reasoner, eye), cast(Restorer, Brighter()))
    return models.restore(photo(), **asked), eye.looks


HAZY = {"haze": (60.0, 0.9), "noise": (4.0, 0.9)}


def test_a_result_without_harm_is_given_at_full_strength():
    result, looks = restored({100: HAZY, 180: {"haze": (10, 0.9), "noise": (11.5, 0.9)}})
    assert (result.image == 180).all()
    assert (result.strength, result.kept, result.weakened) == (1, None, None)
    assert looks == [100, 180]
    assert set(result.timings) == {"diagnose_s", "restore_s", "second_look_s"}


def test_what_comes_to_light_under_something_worse_is_no_harm():
    """Noise of 65 was there before, in the haze; a result is worse only where its worst is worse than the photo's."""
    result, looks = restored({100: HAZY, 180: {"noise": (65, 0.9)}})
    assert (result.strength, result.kept, result.weakened, looks) == (1, None, None, [100, 180])


def test_a_result_whose_worst_is_worse_is_weakened():
    result, looks = restored(
        {100: HAZY, 180: {"haze": (5, 0.9), "noise": (80, 0.9)}, 140: {"haze": (30, 0.9), "noise": (70, 0.9)}}
    )
    assert (result.image == 140).all()
    assert looks == [100, 180, 140]
    assert (result.strength, result.kept) == (0.5, None)
    assert result.weakened == "noise rose from 4 to 80 at strength 1"
    assert result.after.findings["noise"].severity == 70


def test_where_three_looks_find_harm_the_original_is_kept():
    worse = {"haze": (50.0, 0.9), "blur": (75.0, 0.9)}
    result, looks = restored({100: HAZY, 180: worse, 140: worse, 120: worse})
    assert (result.image == 100).all()
    assert looks == [100, 180, 140, 120]
    assert (result.strength, result.weakened) == (0, None)
    assert result.after == result.before
    assert result.kept == "; ".join(f"blur rose from 0 to 75 at strength {s}" for s in (1, 0.5, 0.25))


def test_one_finding_that_is_not_sure_is_not_acted_on():
    result, looks = restored({100: {"snow": (47, 0.84)}})
    assert np.array_equal(result.image, photo())
    assert (result.strength, result.weakened, looks) == (0, None, [100])
    assert result.kept == "only snow was found, and not for sure (confidence 0.84, 0.90 is asked for)"
    assert result.before.findings["snow"].severity == 47


def test_two_findings_that_are_not_sure_are_acted_on():
    result, looks = restored({100: {"snow": (47, 0.84), "noise": (9, 0.6)}, 180: {}})
    assert (result.strength, result.kept, looks) == (1, None, [100, 180])


def test_a_person_is_obeyed_whatever_the_second_look_says():
    worse = {"haze": (90.0, 0.9)}
    result, looks = restored({100: {"haze": (50, 0.2)}, 180: worse}, edits={"rain": 30})
    assert (result.image == 180).all()
    assert (result.strength, result.kept, result.weakened) == (1, None, None)
    assert (result.after.findings["haze"].severity, looks) == (90, [100, 180])


def test_strength_is_what_was_asked_for_and_is_halved_from_there():
    result, looks = restored({100: HAZY, 140: {"snow": (90, 0.9)}, 120: {}}, strength=0.5)
    assert ((result.image == 120).all(), result.strength, looks) == (True, 0.25, [100, 140, 120])
    result, looks = restored({100: HAZY}, strength=0)
    assert (result.image.tolist(), result.kept, looks) == (photo().tolist(), "strength is 0", [100])


def test_a_clean_photo_is_the_very_same():
    result, looks = restored({100: {}})
    assert np.array_equal(result.image, photo())
    assert (result.kept, result.strength, looks) == ("no degradation to remove", 0, [100])


@pytest.mark.parametrize(
    ("asked", "told"), [({"strength": 1.5}, "must lie in 0..1"), ({"edits": {"fog": 3}}, "unknown degradation")]
)
def test_wrong_wishes_are_refused(asked, told):
    with pytest.raises(ValueError, match=told):
        restored({100: HAZY}, **asked)


def test_sixteen_bits_stay_and_the_reasoner_sees_eight():
    models = Models(cast(Reasoner, Eye({100: HAZY, 140: {}})), cast(Restorer, Brighter()))
    result = models.restore(photo(np.uint16), strength=0.5)
    assert result.image.dtype == np.uint16
    assert (result.image == 25700 + LIFT * 257 // 2).all()


def test_eight_bits_are_the_nearest():
    deep = np.arange(65536, dtype=np.uint16).reshape(-1, 64, 1).repeat(3, 2)
    assert np.array_equal(inference.eight_bits(deep), np.rint(deep / 257).astype(np.uint8))
    eight = inference.eight_bits(deep)
    assert inference.eight_bits(eight) is eight


@pytest.mark.parametrize("strength", [0, 0.25, 0.5, 1])
def test_fading_blends_to_the_nearest_step(strength):
    random = np.random.default_rng(0)
    for dtype in (np.uint8, np.uint16):
        old, new = random.integers(0, np.iinfo(dtype).max, (2, 600, 5, 3), dtype, endpoint=True)
        faded = new.copy()
        inference.fade(old, faded, strength)
        assert np.abs(faded - (old + strength * (new.astype(float) - old))).max() <= 0.501


def test_models_that_only_diagnose_say_so():
    with pytest.raises(ModelRefError, match="diagnose only"):
        Models(cast(Reasoner, Eye({100: HAZY})), None).restore(photo())


def test_a_policy_that_goes_on_restores_what_is_still_found_and_takes_its_share():
    eye = Eye({100: HAZY, 180: {"noise": (30.0, 0.9)}, 220: {}})
    models = Models(cast(Reasoner, eye), cast(Restorer, Brighter(0.5)))
    heard: list[float] = []
    seen = models.look(photo())
    painted = models.paint(photo(), seen, on_tile=heard.append)
    # 180 after the first pass, white stops the second at 255: half of the way there
    assert painted.flat[0] == 218 and eye.looks == [100, 180]
    assert heard == sorted(heard) and heard[-1] == 1 and 0.5 in heard
    # a person's wishes are carried out once
    assert models.paint(photo(), seen, {"haze": 30.0}).flat[0] == 180 and eye.looks == [100, 180]


def test_a_policy_that_stops_says_that_all_is_done():
    class Stops(Brighter):
        may_go_on = True

    eye = Eye({100: HAZY, 180: {}})
    models = Models(cast(Reasoner, eye), cast(Restorer, Stops()))
    heard: list[float] = []
    assert models.paint(photo(), models.look(photo()), on_tile=heard.append).flat[0] == 180
    assert heard[-1] == 1


def test_who_only_restores_need_not_load_tables():
    """Pandas and Arrow take 65 MiB, which a photo of 24 megapixels could use better."""
    script = "import sys; from components import inference; sys.exit(int(bool({'pandas', 'pyarrow'} & {*sys.modules})))"
    assert subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=False).returncode == 0
