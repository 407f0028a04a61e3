"""A kernel that is known is undone, one that is doubtful does no harm, and the spectrum tells blurred photos apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from components.degradations.recipe import apply_recipe
from components.degradations.severity import psnr
from components.diagnosis import Diagnosis, Finding
from components.restorer import deblur
from components.restorer.conditioning import condition_vector

SURE = 9.0
BLURS = [("gaussian", 5.0, 0.0), ("defocus", 7.0, 0.0), ("motion", 11.0, 30.0), ("motion", 11.0, -75.0)]


def tensor(photo: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255


def blurred(photo: np.ndarray, kind: str, extent: float, angle: float) -> np.ndarray:
    params = {"kind": kind, "extent_px": extent, "angle_deg": angle}
    return apply_recipe(photo, [{"type": "blur", "level": 0.5, "seed": 1, "params": params, "factors": params}])


def guess(kind: str, extent: float = 5.0, angle: float = 0.0) -> torch.Tensor:
    """A guess that is sure of itself."""
    twice = 2 * math.radians(angle)
    odds = [SURE * (name == kind) for name in deblur.KINDS]
    return torch.tensor([[*odds, math.log(extent), math.cos(twice), math.sin(twice)]])


def gain(photo: np.ndarray, degraded: np.ndarray, told: torch.Tensor) -> float:
    """dB that the careful filter gains."""
    image = tensor(degraded)
    found = (image + deblur.sharpened(image, told)[:, 3:]).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    return psnr((255 * found).round().astype(np.uint8), photo) - psnr(degraded, photo)


@pytest.mark.parametrize(("kind", "extent", "angle"), BLURS)
def test_a_known_kernel_is_undone(photos, kind, extent, angle):
    gains = [gain(photo, blurred(photo, kind, extent, angle), guess(kind, extent, angle)) for photo in photos]
    assert np.mean(gains) > 0.5, gains


def test_a_motion_across_is_another_kernel(photos):
    degraded = [blurred(photo, "motion", 11.0, 30.0) for photo in photos]
    right, wrong = (
        np.mean([gain(photo, seen, guess("motion", 11.0, angle)) for photo, seen in zip(photos, degraded, strict=True)])
        for angle in (30.0, -60.0)
    )
    assert right > wrong + 1


def test_what_is_taken_for_sharp_is_left_alone(photos):
    image = tensor(photos[0])
    assert not deblur.sharpened(image, guess("none")).any()
    doubtful = torch.zeros(1, deblur.GUESS)
    assert deblur.sharpened(image, doubtful).abs().mean() < deblur.sharpened(image, guess("defocus")).abs().mean()


def test_a_guess_learns_what_the_condition_says():
    """The kernel that a true diagnosis names is the target."""
    factors = {"kind": "motion", "extent_px": 12.0, "angle_deg": 40.0}
    findings = {"blur": Finding(severity=50, confidence=1.0, factors=factors)}
    truth = torch.stack([condition_vector(Diagnosis(findings=found)) for found in ({}, findings)])
    right = torch.cat([guess("none"), guess("motion", 12.0, 40.0)])
    assert deblur.guess_loss(right, truth) < 0.01
    for wrong in (guess("defocus", 12.0, 40.0), guess("motion", 6.0, 40.0), guess("motion", 12.0, -40.0)):
        assert deblur.guess_loss(torch.cat([right[:1], wrong]), truth) > 0.2
