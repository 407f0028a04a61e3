"""The intervals against the plain way of drawing photos, and against what must come out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from components.diagnosis import TYPES
from components.evaluation import metrics, plots
from components.evaluation.measure import by_case, with_answers
from components.report import intervals
from tests.report.made_up import make_pairs, measured


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    pairs = make_pairs()
    made, said = measured(pairs)
    # photos with unlike numbers of pairs
    return with_answers(made, pairs, said).iloc[3:].reset_index(drop=True)


def test_draws_are_photos_drawn_whole(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each draw's figures are those of metrics.reasoner_scores and by_case on the pairs of the drawn photos."""
    monkeypatch.setattr(intervals, "DRAWS", 7)
    collected: list[np.ndarray] = []

    def collect(values: np.ndarray) -> intervals.Interval:
        collected.append(values)
        return 0.0, 0.0

    monkeypatch.setattr(intervals, "central", collect)
    paths = list(intervals.of_figures(table))
    draws = dict(zip(paths, np.array(collected), strict=True))
    counts = intervals.Draws(table["photo_id"])._counts
    photos = sorted(table["photo_id"].unique())
    assert (counts.sum(1) == len(photos)).all()
    for number, times in enumerate(counts):
        rows = np.concatenate(
            [np.tile(np.flatnonzero(table["photo_id"] == p), t) for p, t in zip(photos, times, strict=True)]
        ).astype(int)
        drawn = table.iloc[rows]
        presence, severity, found, truth = (
            plots.stacked(drawn, column) for column in ("presence", "severity", "found", "truth")
        )
        overall, per_type = metrics.reasoner_scores(presence, severity, found, truth, drawn["case"].tolist())
        for name in ("macro_f1", "severity_mae", "severity_spearman", "clean_pass_rate", "mixture_exact"):
            assert draws[f"reasoner.{name}"][number] == pytest.approx(overall[name]), name
        for kind in TYPES:
            for name in ("f1", "severity_mae", "severity_spearman"):
                assert draws[f"reasoner_types.{kind}.{name}"][number] == pytest.approx(per_type[kind][name])
        for case, scores in by_case(drawn).items():
            gain = scores["psnr_restored"] - scores["psnr_degraded"]
            assert draws[f"restoration.{case}.psnr_gain"][number] == pytest.approx(gain)


def test_intervals_hold_the_figures_and_shrink_to_a_point_where_nothing_varies(
    table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "DRAWS", 200)
    found = intervals.of_figures(table)
    for case, scores in by_case(table).items():
        low, high = found[f"restoration.{case}.psnr_gain"]
        gain = scores["psnr_restored"] - scores["psnr_degraded"]
        assert low <= gain <= high
        assert found[f"restoration.{case}.ssim_gain"] == pytest.approx((0.2, 0.2))
    assert found["restoration.clean.psnr_gain"] == (0.0, 0.0)
    assert found == intervals.of_figures(table)
    # a case that is nowhere has no interval
    assert "restoration.haze.psnr_gain" not in intervals.of_figures(table[table["case"] != "haze"])
