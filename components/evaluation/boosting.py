"""What a reasoner must beat: gradient boosting on the features of components/evaluation/handmade.py.

    rnr evaluate-reasoner                        # trains and measures it beside the reasoner, on the same pairs

Per type a classifier of presence and a regressor of severity, and one classifier of the verdict "degraded". They learn
from the training pairs; when to stop adding trees, the thresholds and the gate for clean photos are chosen on the
validation pairs. scikit-learn is imported when a baseline is trained, and computes in one thread: the same pairs give
the same scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from components.diagnosis import TYPES
from components.evaluation import answers
from components.evaluation.answers import Answers
from components.reasoner.calibrate import CLEAN_PASS
from components.storage import parquet

BOOSTING = {
    "learning_rate": 0.06,
    "max_iter": 400,
    "max_leaf_nodes": 15,
    "l2_regularization": 1.0,
    "early_stopping": True,
    "n_iter_no_change": 20,  # rounds in which the validation pairs gained nothing
    "random_state": 1,
}
# of a severity, below which its mean is all that is learnt; and what is said where there is none
LEAST_EXAMPLES, UNKNOWN_SEVERITY = 2, 50.0
Progress = Callable[[Iterable[np.ndarray], int, str], Iterable[np.ndarray]]


@dataclass(frozen=True)
class Table:
    """Features (N, F) of the degraded and of the clean sides of N pairs, and the true severities (N, 7)."""

    degraded: np.ndarray
    clean: np.ndarray
    truth: np.ndarray


def read_tables(
    pairs: str | Path, split: str, sets: dict[str, Callable[[np.ndarray], np.ndarray]], progress: Progress
) -> dict[str, Table]:
    """The tables of one split by name of the set of features; each picture is decoded once, none is kept.

    Raises FileNotFoundError when the split has no shard.
    """
    count = answers.count_pairs(pairs, split)
    both = chain(answers.stored(pairs, split, "degraded"), answers.stored(pairs, split, "clean"))
    rows: dict[str, list[np.ndarray]] = {name: [] for name in sets}
    for image in progress(both, 2 * count, f"features of {split} pairs"):
        for name, measure in sets.items():
            rows[name].append(measure(image))
    truth = answers.severities(parquet.read_split(pairs, split, answers.TRUTH))
    return {name: Table(np.stack(found[:count]), np.stack(found[count:]), truth) for name, found in rows.items()}


class Baseline:
    """Trained on a table, every choice made on another."""

    def __init__(self, train: Table, val: Table) -> None:
        present = (train.truth >= 1, val.truth >= 1)
        self.presence = [
            _classifier(train.degraded, present[0][:, i], val.degraded, present[1][:, i]) for i in range(len(TYPES))
        ]
        self.severity = [
            _regressor(train.degraded, train.truth[:, i], val.degraded, val.truth[:, i]) for i in range(len(TYPES))
        ]
        # the clean sides double the examples of a good photo
        both = [np.concatenate([table.degraded, table.clean]) for table in (train, val)]
        wrong = [np.concatenate([here.any(1), np.zeros(len(here), bool)]) for here in present]
        self.verdict = _classifier(both[0], wrong[0], both[1], wrong[1])
        self.gate, self.thresholds = 0.0, np.full(len(TYPES), 0.5)
        self._calibrate(val)

    def _calibrate(self, val: Table) -> None:
        """The gate that lets CLEAN_PASS of the clean validation pictures pass, then the thresholds of best F1.

        The gate comes first, so that the thresholds may be as low as F1 wants them.
        """
        self.gate = float(np.quantile(self._degraded(val.clean), CLEAN_PASS, method="higher")) + 1e-6
        presence = self._presence(val.degraded)
        passed = self._degraded(val.degraded) >= self.gate
        self.thresholds = np.array(
            [best_threshold(presence[:, i], passed, val.truth[:, i] >= 1) for i in range(len(TYPES))]
        )

    def ask(self, features: np.ndarray) -> Answers:
        """What is said of pictures with features (N, F)."""
        presence = self._presence(features)
        found = (presence >= self.thresholds) & (self._degraded(features) >= self.gate)[:, None]
        severity = np.stack([model.predict(features) for model in self.severity], 1).clip(1, 100)
        return Answers(presence, severity, found)

    def _presence(self, features: np.ndarray) -> np.ndarray:
        return np.stack([model.predict_proba(features)[:, 1] for model in self.presence], 1)

    def _degraded(self, features: np.ndarray) -> np.ndarray:
        """(N,): how surely anything is wrong, the mean log-odds of verdict and likeliest type, as the reasoner's."""
        sure = np.stack([self.verdict.predict_proba(features)[:, 1], self._presence(features).max(1)]).clip(
            1e-6, 1 - 1e-6
        )
        return 1 / (1 + np.exp(-np.log(sure / (1 - sure)).mean(0)))


def best_threshold(presence: np.ndarray, passed: np.ndarray, here: np.ndarray) -> float:
    """The threshold on `presence` (N,) of the best F1 towards the truth `here` (N,) among pictures that `passed`
    the gate; half way between two pictures, the lowest of equals; 0.5 where nothing can be found."""
    order = np.argsort(-presence[passed], kind="stable")
    sure, true = presence[passed][order], here[passed][order]
    if not true.any():
        return 0.5
    f1 = 2 * np.cumsum(true) / (np.arange(1, len(true) + 1) + here.sum())
    below = np.append(sure[1:], 0.0)
    f1[sure == below] = -1  # equal pictures are found together
    last = len(f1) - 1 - int(np.argmax(f1[::-1]))
    return float((sure[last] + below[last]) / 2)


class _Constant:
    """Stands where the pairs hold too little to learn from: the mean of what they say."""

    def __init__(self, value: float) -> None:
        self.value = value

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.full(len(features), self.value)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        return np.tile([1 - self.value, self.value], (len(features), 1))


def _classifier(train: np.ndarray, said: np.ndarray, val: np.ndarray, val_said: np.ndarray) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    if said.all() or not said.any():
        return _Constant(float(said.mean()))
    return _fit(HistGradientBoostingClassifier(**BOOSTING), train, said, val, val_said)


def _regressor(train: np.ndarray, severity: np.ndarray, val: np.ndarray, val_severity: np.ndarray) -> Any:
    """Of the severity where the type is present."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    here, val_here = severity >= 1, val_severity >= 1
    if here.sum() < LEAST_EXAMPLES or not val_here.any():
        return _Constant(float(severity[here].mean()) if here.any() else UNKNOWN_SEVERITY)
    model = HistGradientBoostingRegressor(loss="squared_error", **BOOSTING)
    return _fit(model, train[here], severity[here], val[val_here], val_severity[val_here])


def _fit(model: Any, train: np.ndarray, said: np.ndarray, val: np.ndarray, val_said: np.ndarray) -> Any:
    from threadpoolctl import threadpool_limits

    # sums over threads would come in another order on another machine
    with threadpool_limits(limits=1):
        return model.fit(train, said, X_val=val, y_val=val_said)
