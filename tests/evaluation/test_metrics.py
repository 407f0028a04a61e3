"""The scores: against known values and by hand-made answers."""

from __future__ import annotations

import numpy as np
import pytest

from components.diagnosis import TYPES
from components.evaluation import metrics


def test_psnr_and_ssim_of_known_pictures(photos):
    photo = photos[0]
    assert metrics.psnr(photo, photo) == metrics.IDENTICAL_DB
    assert metrics.ssim(photo, photo) == pytest.approx(1, abs=1e-6)
    shifted = np.clip(photo.astype(int) + 10, 0, 255).astype(np.uint8)
    error = np.mean((photo.astype(float) - shifted) ** 2)
    assert metrics.psnr(shifted, photo) == pytest.approx(10 * np.log10(255**2 / error), abs=1e-2)


def test_a_perfect_reasoner_and_a_blind_one():
    truth = np.zeros((14, 7))
    for i in range(7):
        truth[2 * i, i], truth[2 * i, (i + 2) % 7] = 20 + 5 * i, 50 + i
    cases = ["mixture2" if t.any() else "clean" for t in truth]
    perfect, per_type = metrics.reasoner_scores((truth > 0).astype(float), truth, truth > 0, truth, cases)
    assert perfect["macro_f1"] == perfect["clean_pass_rate"] == perfect["mixture_exact"] == 1
    assert perfect["severity_mae"] == perfect["ece"] == 0
    assert set(per_type) == set(TYPES)
    always = np.ones_like(truth, dtype=bool)
    blind, _ = metrics.reasoner_scores(always.astype(float), truth, always, truth, cases)
    assert blind["macro_f1"] == pytest.approx(blind["prior_macro_f1"])
    assert blind["clean_pass_rate"] == 0


def test_calibration_error_of_overconfidence():
    said, happened = np.full(100, 0.95), np.arange(100) < 50
    assert metrics.calibration_error(said, happened) == pytest.approx(0.45)


def test_rank_correlation_ignores_the_scale():
    assert metrics.spearman(np.array([1.0, 2, 30]), np.array([0.1, 0.2, 0.3])) == pytest.approx(1)
    assert metrics.spearman(np.array([1.0, 1, 1]), np.array([0.1, 0.2, 0.3])) == 0
