"""The thresholds: no clean validation picture reaches one, else they are those of best F1."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from components.diagnosis import TYPES, DegradationType, Diagnosis, Finding
from components.reasoner.calibrate import calibrate


class Said:
    """A reasoner that says of picture i what row i of a table holds."""

    def read(self, rows):
        return torch.tensor(rows)

    def severities(self, reading):
        return reading[:, : len(TYPES)], reading[:, : len(TYPES)] * 100

    def degraded(self, reading):
        return reading[:, -1]


def row(verdict: float, **presence: float) -> list[float]:
    return [*(presence.get(kind, 0.0) for kind in TYPES), verdict]


def told(*kinds: DegradationType) -> Diagnosis:
    return Diagnosis(findings={kind: Finding(severity=50) for kind in kinds})


def test_a_threshold_lies_above_every_clean_picture_and_at_the_best_f1():
    images = [row(0.9, haze=0.95, noise=0.55), row(0.9, haze=0.75, noise=0.8), row(0.9, haze=0.6, noise=0.2)]
    diagnoses = [told("haze"), told("haze", "noise"), told()]
    cleans = [row(0.1 * i, haze=0.7 if i == 3 else 0.1, noise=0.05) for i in range(10)]
    calibration, scores = calibrate(Said(), images, diagnoses, cleans)
    thresholds = SimpleNamespace(**calibration["threshold"])
    assert 0.7 < thresholds.haze < 0.75 and 0.55 < thresholds.noise <= 0.8
    assert thresholds.jpeg == 0.5
    assert scores["val_macro_f1"] == 2 / len(TYPES)
    assert 0.9 < calibration["clean_gate"] < 0.91


def test_one_odd_clean_picture_does_not_make_a_type_impossible_to_find():
    calibration, _ = calibrate(Said(), [row(0.9, rain=0.97)], [told("rain")], [row(0.2, rain=0.99)])
    assert calibration["threshold"]["rain"] == 0.95
