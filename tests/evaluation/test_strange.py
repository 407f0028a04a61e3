"""The sets out of distribution: reproducible, damaged in kind, and the refinement's report keeps its keys."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluation import strange


@pytest.mark.parametrize("number", range(len(strange.THIRD_PARTY)), ids=list(strange.THIRD_PARTY))
def test_other_toolkits_formulae(photos, number):
    name, once = strange.third_party(photos[0], number, 3)
    assert name == list(strange.THIRD_PARTY)[number]
    assert once.shape == photos[0].shape and once.dtype == np.uint8
    assert np.array_equal(once, strange.third_party(photos[0], number, 3)[1])
    error = np.abs(once.astype(float) - photos[0]).mean()
    assert 1 < error < 90
    seeds = {strange.third_party(photos[0], number, seed)[1].tobytes() for seed in range(8)}
    assert len(seeds) > 1


def test_what_fog_dark_and_blur_do(photos):
    clean = photos[0].astype(float)
    names = list(strange.THIRD_PARTY)
    fog, dark, blur = (
        strange.third_party(photos[0], names.index(name), 1)[1].astype(float)
        for name in ("plasma_fog", "darkness", "disk_blur")
    )
    assert fog.std() < clean.std()
    assert dark.mean() < clean.mean() - 20
    assert np.abs(np.diff(blur, axis=1)).mean() < 0.8 * np.abs(np.diff(clean, axis=1)).mean()
    # a filter whose weights sum to one keeps the mean
    assert blur.mean() == pytest.approx(clean.mean(), abs=1.5)


def test_second_order_is_reproducible(photos):
    assert np.array_equal(strange.second_order(photos[0], 5), strange.second_order(photos[0], 5))
    assert not np.array_equal(strange.second_order(photos[0], 5), strange.second_order(photos[0], 6))
