"""How far the figures could be off: intervals over photos drawn with replacement (Efron 1979).

Photos, not pairs: pairs of one photo resemble each other, and new photos are what the figures should hold for. All
figures but the rank correlation are quotients of sums over pairs, so a draw is a row of counts and a thousand draws
are one product of matrices.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.diagnosis import TYPES
from components.evaluation.metrics import spearman
from components.evaluation.plots import stacked

Interval = tuple[float, float]
DRAWS, WITHIN, SEED = 1000, 0.95, 1


class Draws:
    """The photos of N pairs, drawn DRAWS times."""

    def __init__(self, photos: pd.Series) -> None:
        names, self._owner = np.unique(photos.to_numpy().astype(str), return_inverse=True)
        self.photos = len(names)
        generator = np.random.default_rng(SEED)
        # (DRAWS, photos): how often each photo is in each draw
        self._counts = generator.multinomial(self.photos, np.full(self.photos, 1 / self.photos), size=DRAWS)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(DRAWS,) or (DRAWS, K): sums over the pairs of each draw of `values` (N,) or (N, K)."""
        by_photo = np.zeros((self.photos, *values.shape[1:]))
        np.add.at(by_photo, self._owner, values.astype(float))
        return self._counts @ by_photo

    def mean(self, values: np.ndarray, where: np.ndarray) -> np.ndarray:
        """(DRAWS,) or (DRAWS, K): means of `values` over the pairs `where`; NaN in a draw without any."""
        return _quotient(self.sums(np.where(where, values, 0.0)), self.sums(where))

    def spearman(self, read: np.ndarray, truth: np.ndarray, where: np.ndarray) -> np.ndarray:
        """(DRAWS,) rank correlations over the pairs `where`."""
        pairs = np.flatnonzero(where)
        rows = [pairs[self._owner[pairs] == photo] for photo in range(self.photos)]
        out = np.empty(DRAWS)
        for number, counts in enumerate(self._counts):
            chosen = np.concatenate([np.tile(own, times) for own, times in zip(rows, counts, strict=True)])
            out[number] = spearman(read[chosen], truth[chosen])
        return out


def _quotient(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def central(values: np.ndarray) -> Interval | None:
    """The central WITHIN of what the draws gave; None where no draw gave anything."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.percentile(known, [50 * (1 - WITHIN), 50 * (1 + WITHIN)])
    return float(low), float(high)


def of_figures(table: pd.DataFrame) -> dict[str, Interval]:
    """Dotted path -> interval, for the table of pairs that `evaluate` makes (see evaluation/measure.py).

    The paths are those of reports/metrics.json, with `psnr_gain` (dB) and `ssim_gain` beside the scores of each case.
    """
    draws = Draws(table["photo_id"])
    found: dict[str, Interval | None] = {}
    cases = table["case"].to_numpy()
    groups = {str(case): cases == case for case in sorted(set(cases))} | {"all": cases != "clean"}
    for measure in ("psnr", "ssim"):
        gain = (table[f"{measure}_restored"] - table[f"{measure}_degraded"]).to_numpy()
        for case, here in groups.items():
            found[f"restoration.{case}.{measure}_gain"] = central(draws.mean(gain, here))
    truth, said, read = (stacked(table, column) for column in ("truth", "found", "severity"))
    here = truth >= 1
    f1 = 2 * draws.sums(said & here) / np.maximum(1, draws.sums(said) + draws.sums(here))
    error = draws.mean(np.abs(read - truth), here)
    ranks = np.stack([draws.spearman(read[:, i], truth[:, i], here[:, i]) for i in range(len(TYPES))], 1)
    for name, values in (("f1", f1), ("severity_mae", error), ("severity_spearman", ranks)):
        for index, kind in enumerate(TYPES):
            found[f"reasoner_types.{kind}.{name}"] = central(values[:, index])
    clean, double = np.asarray(~here.any(1)), cases == "mixture2"
    overall = {
        "macro_f1": f1.mean(1),
        # as in metrics.reasoner_scores, a type that is nowhere counts as 0
        "severity_mae": np.nan_to_num(error).mean(1),
        "severity_spearman": ranks.mean(1),
        "clean_pass_rate": draws.mean(np.asarray(~said.any(1)), clean),
        "mixture_exact": draws.mean((said == here).all(1), double),
    }
    found |= {f"reasoner.{name}": central(values) for name, values in overall.items()}
    return {path: interval for path, interval in found.items() if interval is not None}
