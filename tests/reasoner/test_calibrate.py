"""The thresholds: those of best F1, raised until good photos are left alone, where that costs least."""

from __future__ import annotations

import torch

from components.diagnosis import TYPES, DegradationType, Diagnosis, Finding
from components.reasoner.calibrate import CLEAN_PASS, GRID, Validation, calibrate
from components.reasoner.reader import counted


class Said:
    """A reasoner that says of picture i what row i of a table holds."""

    def read(self, rows):
        return torch.tensor(rows)

    def severities(self, reading):
        return reading, reading * 100


def row(**presence: float) -> list[float]:
    return [presence.get(kind, 0.0) for kind in TYPES]


def told(*kinds: DegradationType) -> Diagnosis:
    return Diagnosis(findings={kind: Finding(severity=50) for kind in kinds})


def test_without_false_alarms_the_best_f1_decides():
    images = [row(haze=0.95, noise=0.45), row(haze=0.75, noise=0.8), row(haze=0.62, noise=0.2)]
    diagnoses = [told("haze"), told("haze", "noise"), told()]
    calibration, scores = calibrate(Said(), Validation(images, diagnoses, [row()] * 10))
    assert 0.62 < calibration["threshold"]["haze"] <= 0.64  # the lowest that is right three times
    assert 0.45 < calibration["threshold"]["noise"] <= 0.47
    assert calibration["threshold"]["jpeg"] == round(float(GRID[0]), 4)
    assert abs(scores["val_macro_f1"] - 2 / len(TYPES)) < 1e-6
    assert scores["val_clean_pass_rate"] == 1


def test_thresholds_are_raised_where_it_costs_least():
    """Two types ring in good photos: one is found above that anyway, the other would be lost."""
    images = [row(haze=0.95), row(haze=0.9), row(rain=0.5), row(rain=0.45), row(haze=0.35, rain=0.35)]
    diagnoses = [told("haze"), told("haze"), told("rain"), told("rain"), told("haze", "rain")]
    cleans = [row(haze=0.6)] * 5 + [row(rain=0.6)] + [row()] * 94
    calibration, scores = calibrate(Said(), Validation(images, diagnoses, cleans))
    assert calibration["threshold"]["haze"] > 0.6
    assert calibration["threshold"]["rain"] < 0.35
    assert scores["val_clean_pass_rate"] >= CLEAN_PASS


def test_pictures_in_which_several_types_ring_are_saved_too():
    cleans = [row(haze=0.7, rain=0.7)] * 10 + [row()] * 10
    calibration, scores = calibrate(Said(), Validation([row(haze=0.9, rain=0.9)], [told("haze", "rain")], cleans))
    assert min(calibration["threshold"][kind] for kind in ("haze", "rain")) > 0.3
    assert scores["val_clean_pass_rate"] == 1


def test_a_photo_that_is_surely_mistaken_does_not_keep_the_search_going():
    calibration, scores = calibrate(Said(), Validation([row(rain=0.97)], [told("rain")], [row(rain=0.999)] * 5))
    assert calibration["threshold"]["rain"] <= float(GRID[-1]) + 1e-6
    assert scores["val_clean_pass_rate"] == 0


def test_beside_a_sure_finding_a_probable_one_counts():
    """Haze of 0.6 is in good photos too; in a photo that is noisy anyway it is taken for haze."""
    images = [row(noise=0.95, haze=0.6)] * 4 + [row(haze=0.95), row(noise=0.9, haze=0.1)]
    diagnoses = [told("noise", "haze")] * 4 + [told("haze"), told("noise")]
    calibration, scores = calibrate(Said(), Validation(images, diagnoses, [row(haze=0.6)] * 10 + [row()] * 10))
    assert calibration["threshold"]["haze"] > 0.6
    assert abs(scores["val_macro_f1"] - 2 / len(TYPES)) < 1e-6
    thresholds = torch.tensor([calibration["threshold"][kind] for kind in TYPES])
    seen = torch.tensor([row(haze=0.6), row(noise=0.9, haze=0.6), row(noise=0.9, haze=0.4), row(haze=0.4)])
    assert counted(seen, thresholds)[:, TYPES.index("haze")].tolist() == [False, True, False, False]
