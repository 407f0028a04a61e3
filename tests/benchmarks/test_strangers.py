"""The table of other toolkits' corruptions, from rows that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks import strangers
from components.evaluation.strange import THIRD_PARTY


def test_every_corruption_has_a_meaning_and_its_turn():
    assert set(THIRD_PARTY) == set(strangers.MEANT) - {"twice"}
    clean = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    names = [strangers.corrupted(clean, number)[0] for number in range(2 * len(strangers.MEANT))]
    assert names == [*strangers.MEANT] * 2
    first, again = (strangers.corrupted(clean, 8)[1] for _ in range(2))
    assert np.array_equal(first, again) and not np.array_equal(first, strangers.corrupted(clean, 17)[1])


def test_found_alone_and_found_with_others_are_told_apart():
    rows = pd.DataFrame(
        [("darkness", "low_light", 10, 14), ("darkness", "snow low_light", 10, 12), ("twice", "blur noise", 20, 19)],
        columns=["name", "found", "before", "after"],
    )
    told = strangers.table(rows)
    assert told.loc["darkness", ["found", "exact", "gain, dB", "also said"]].tolist() == [1, 0.5, 3, "snow 1"]
    assert told.loc["twice", ["found", "exact", "gain, dB", "also said"]].tolist() == [0, 0, -1, ""]
    assert told.loc["all", "n"] == 3
