"""When a presence counts: thresholds chosen on validation photos and stored as calibration.json."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from components import storage
from components.diagnosis import TYPES, Diagnosis
from components.reasoner import data
from components.reasoner.reader import Reasoner, counted
from components.storage import parquet

# share of clean validation pictures that must be left alone: above the 95% that are promised of other photos, since
# a share just reached on the photos that chose the thresholds is missed on half of all others
CLEAN_PASS = 0.99
GRID = torch.arange(0.3, 0.985, 0.01)


@dataclass(frozen=True)
class Validation:
    """Validation pictures (H, W, 3) uint8, what is true of them, and their clean sides."""

    pictures: list[np.ndarray]
    diagnoses: list[Diagnosis]
    cleans: list[np.ndarray]

    @staticmethod
    def load() -> Validation:
        """Those of data/pairs, as annotated."""
        pictures, diagnoses = data.load_split("val")
        cleans = [storage.decode_image(side) for side in parquet.read_split("data/pairs", "val", ["clean"])["clean"]]
        return Validation(pictures, diagnoses, cleans)


def calibrate(reasoner: Reasoner, validation: Validation) -> tuple[dict, dict[str, float]]:
    """Presence thresholds per type, and the scores of that choice.

    What reaches its threshold shows that a photo is degraded; see `reader.counted` for what else then counts.
    """
    presence, _ = reasoner.severities(reasoner.read(validation.pictures))
    alarms, _ = reasoner.severities(reasoner.read(validation.cleans))
    truth = torch.tensor([d.severities() for d in validation.diagnoses]) >= 1
    scores = torch.stack([f1(presence[:, k : k + 1] >= GRID, truth[:, k : k + 1]) for k in range(len(TYPES))])
    places = choose(scores, alarms)
    thresholds = GRID[places]
    found = counted(presence, thresholds)
    chosen = torch.cat([f1(found[:, k : k + 1], truth[:, k : k + 1]) for k in range(len(TYPES))])
    passed = (alarms < thresholds).all(1).float().mean()
    table = {kind: round(float(one), 4) for kind, one in zip(TYPES, thresholds, strict=True)}
    return {"threshold": table}, {"val_macro_f1": float(chosen.mean()), "val_clean_pass_rate": float(passed)}


def f1(said: Tensor, truth: Tensor) -> Tensor:
    """(T,) F1 of what T thresholds say of N pictures, said (N, T), truth (N, 1); 0 where nothing is there or said."""
    hits = (said & truth).sum(0).float()
    return 2 * hits / (said.sum(0) + truth.sum(0)).clamp(min=1)


def choose(scores: Tensor, alarms: Tensor) -> Tensor:
    """(7,) places in GRID: those of best F1, raised until CLEAN_PASS of the clean pictures raise no alarm.

    `scores` (7, GRID) are F1, `alarms` (N, 7) the presences in clean pictures. A false alarm on a good photo costs
    more than a missed finding, and types differ in how easily a good photo is taken for them: each step raises the
    threshold that loses least F1 for every clean picture that it saves.
    """
    # the lowest of equals, and of rounding's making
    places = (scores * 1e6).round().argmax(1)
    while True:
        ringing = alarms >= GRID[places]
        passed = int((~ringing.any(1)).sum())
        if passed >= CLEAN_PASS * len(alarms):
            return places
        best: tuple[float, int, int] | None = None
        for kind in range(len(places)):
            for place in range(int(places[kind]) + 1, len(GRID)):
                tried = ringing.clone()
                tried[:, kind] = alarms[:, kind] >= GRID[place]
                saved = int((~tried.any(1)).sum()) - passed
                if saved:
                    cost = float(scores[kind, places[kind]] - scores[kind, place]) / saved
                    best = min(best or (cost, kind, place), (cost, kind, place))
                    break
        if best is None:  # no single threshold saves any: several types ring in the same pictures
            stuck = [kind for kind in range(len(places)) if ringing[:, kind].any() and places[kind] < len(GRID) - 1]
            if not stuck:
                return places
            places[stuck] += 1
        else:
            places[best[1]] = best[2]
