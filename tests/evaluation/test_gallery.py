"""Which cases a person gets to see, and the tables of the plots."""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.diagnosis import TYPES
from components.evaluation import plots
from components.evaluation.gallery import choose
from components.evaluation.metrics import calibration_error
from tests.report.made_up import make_pairs, measured, with_answers


def ranked(gains: dict[str, tuple[str, float]]) -> pd.DataFrame:
    rows = [
        {"pair_id": pair, "case": case, "psnr_degraded": 20.0, "psnr_restored": 20.0 + gain}
        for pair, (case, gain) in gains.items()
    ]
    return pd.DataFrame(rows)


def test_best_median_and_worst_of_different_cases() -> None:
    table = ranked(
        {
            "a": ("haze", 9.0), "b": ("haze", 8.0), "c": ("rain", 7.0), "d": ("snow", 3.0), "e": ("snow", 2.9),
            "f": ("blur", 2.0), "g": ("rain", 1.0), "h": ("blur", -1.0), "i": ("blur", -2.0), "z": ("clean", -9.0),
        }
    )  # fmt: skip
    assert choose(table, 2) == {"best": ["a", "c"], "median": ["e", "f"], "worst": ["i", "g"]}
    # of few pairs none is shown twice, and none is made up
    few = choose(ranked({"a": ("haze", 9.0), "b": ("rain", 1.0)}), 2)
    assert few == {"best": ["a", "b"], "median": [], "worst": []}
    assert choose(table, 0) == {"best": [], "median": [], "worst": []}


def test_tables_of_the_plots() -> None:
    pairs = make_pairs()
    table, said = measured(pairs)
    table = with_answers(table, pairs, said)
    points = plots.severity_points(table)
    assert len(points) == (plots.stacked(table, "truth") >= 1).sum()
    assert points.groupby("type")["true"].min().ge(1).all()
    found = plots.confusion(table)
    assert set(found["found"]) <= {*TYPES, plots.NOTHING}
    assert len(found) == said.found.sum() + (~said.found.any(1)).sum()
    bins = plots.reliability(table)
    assert bins["n"].sum() == said.presence.size
    # the calibration error of the metrics is that of these bins
    truth = plots.stacked(table, "truth") >= 1
    error = np.average((bins["said"] - bins["happened"]).abs(), weights=bins["n"])
    assert np.isclose(error, calibration_error(said.presence.ravel(), truth.ravel()))
