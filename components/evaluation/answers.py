"""What was said of many pictures, by a reasoner or an opponent, and the figures by which it is judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from components import storage
from components.diagnosis import TYPES, Diagnosis
from components.evaluation import metrics
from components.reasoner.reader import Reasoner
from components.storage import parquet

READ_AT_ONCE = 16
TRUTH = ["photo_id", "case", "severities"]
# figure -> (name for people, least or most it should be, whether it should be at least that)
TARGETS: dict[str, tuple[str, float, bool]] = {
    "parse_rate": ("answers that parse", 1.0, True),
    "macro_f1": ("macro F1", 0.90, True),
    "clean_pass_rate": ("clean pairs passed", 0.95, True),
    "clean_sides_passed": ("clean sides passed", 0.95, True),
    "mixture_exact": ("two-fold mixtures exact", 0.70, True),
    "severity_mae": ("severity error (MAE)", 9.0, False),
    "severity_spearman": ("severity Spearman", 0.85, True),
    "ece": ("calibration error (ECE)", 0.10, False),
}
RESAMPLES, WITHIN = 1000, 0.95


@dataclass(frozen=True)
class Answers:
    """Of N pictures: probability of presence (N, 7), severity where present (N, 7) in 1..100, what counts as found
    (N, 7), and how many answers parsed (None where nothing is written that could fail to)."""

    presence: np.ndarray
    severity: np.ndarray
    found: np.ndarray
    parsed: int | None = None

    def __getitem__(self, rows: np.ndarray) -> Answers:
        return Answers(self.presence[rows], self.severity[rows], self.found[rows])


def count_pairs(pairs: str | Path, split: str) -> int:
    """How many pairs a split holds. Raises FileNotFoundError when it has no shard."""
    return sum(pq.read_metadata(path).num_rows for path in parquet.paths(pairs, split))


def stored(pairs: str | Path, split: str, side: str) -> Iterator[np.ndarray]:
    """The pictures (H, W, 3) uint8 of column `side` ("degraded" or "clean"), a group of rows in memory at a time."""
    for path in parquet.paths(pairs, split):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(parquet.ROW_GROUP, columns=[side]):
                yield from map(storage.decode_image, batch.column(0).to_pylist())


def ask(reasoner: Reasoner, images: Iterable[np.ndarray]) -> Answers:
    """What the reasoner says of pictures (H, W, 3) uint8, READ_AT_ONCE in memory at a time."""
    presence, severity, found, parsed = [], [], [], 0
    waiting = iter(images)
    while group := list(islice(waiting, READ_AT_ONCE)):
        reading = reasoner.read(group)
        likely, expected = reasoner.severities(reading)
        presence.append(likely.numpy())
        severity.append(expected.numpy())
        found.append(reasoner.present(reading).numpy())
        parsed += sum(parses(diagnosis.to_json()) for diagnosis in reasoner.diagnoses(reading))
    return Answers(np.concatenate(presence), np.concatenate(severity), np.concatenate(found), parsed)


def parses(answer: str) -> bool:
    """Whether an answer is a valid `Diagnosis`."""
    try:
        Diagnosis.model_validate_json(answer)
    except ValueError:
        return False
    return True


def severities(frame: pd.DataFrame) -> np.ndarray:
    """(N, 7) true severities of pairs, 0 where a type is absent."""
    return np.array(frame["severities"].tolist(), dtype=float).reshape(-1, len(TYPES))


def figures(said: Answers, cleans: Answers, frame: pd.DataFrame) -> tuple[dict, dict[str, dict[str, float]]]:
    """(figures of TARGETS, figures per type) of N pairs: what was said of their degraded and of their clean sides."""
    truth = severities(frame)
    scores, per_type = metrics.reasoner_scores(said.presence, said.severity, said.found, truth, frame["case"].tolist())
    for index, kind in enumerate(TYPES):
        per_type[kind]["auc"] = metrics.area_under_curve(said.presence[:, index], truth[:, index] >= 1)
    parsed = None if said.parsed is None or cleans.parsed is None else said.parsed + cleans.parsed
    all_scores = {
        **scores,
        "parse_rate": None if parsed is None else parsed / max(1, len(said.found) + len(cleans.found)),
        "clean_sides_passed": float((~cleans.found.any(1)).mean()),
    }
    return all_scores, per_type


def intervals(
    said: Answers, cleans: Answers, frame: pd.DataFrame, resamples: int | None = None
) -> dict[str, tuple[float, float]]:
    """Central WITHIN of the figures over photos drawn with replacement (Efron 1979).

    Photos, not pairs: pairs of one photo resemble each other, and new photos are what the figures should hold for.
    """
    rows = [np.flatnonzero(frame["photo_id"] == photo) for photo in sorted(frame["photo_id"].unique())]
    generator = np.random.default_rng(1)
    drawn: dict[str, list[float]] = {name: [] for name in TARGETS if name != "parse_rate"}
    for _ in range(resamples or RESAMPLES):
        chosen = np.concatenate([rows[photo] for photo in generator.integers(len(rows), size=len(rows))])
        scores, _ = figures(said[chosen], cleans[chosen], frame.iloc[chosen])
        for name, values in drawn.items():
            values.append(scores[name])
    tails = [50 * (1 - WITHIN), 50 * (1 + WITHIN)]
    bounds = {name: np.percentile(values, tails).tolist() for name, values in drawn.items()}
    return {name: (low, high) for name, (low, high) in bounds.items()}
