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
from components.restorer.conditioning import CONDITION, condition_vector

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
    return torch.tensor([[*odds, *[math.log(extent)] * 4, math.cos(twice), math.sin(twice), *deblur.LEAST_DOUBT]])


def gain(photo: np.ndarray, degraded: np.ndarray, told: torch.Tensor, place: int = 1) -> float:
    """dB that the careful filter gains, or another by its place."""
    image = tensor(degraded)
    found = (
        (image + deblur.sharpened(image, told)[:, 3 * place : 3 * place + 3]).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    )
    return psnr((255 * found).round().astype(np.uint8), photo) - psnr(degraded, photo)


@pytest.mark.parametrize(("kind", "extent", "angle"), BLURS)
def test_a_known_kernel_is_undone(photos, kind, extent, angle):
    gains = [gain(photo, blurred(photo, kind, extent, angle), guess(kind, extent, angle)) for photo in photos]
    assert np.mean(gains) > 0.5, gains


def test_filtering_again_puts_right_what_a_mirrored_border_spoils(photos):
    degraded = [blurred(photo, "motion", 11.0, 30.0) for photo in photos]
    once, again = (
        np.mean([gain(p, seen, guess("motion", 11.0, 30.0), place) for p, seen in zip(photos, degraded, strict=True)])
        for place in (1, 2)
    )
    assert again > once + 0.5


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
    doubtful = torch.cat([torch.zeros(1, deblur.DOUBT.start), torch.tensor([deblur.MOST_DOUBT])], 1)
    assert deblur.sharpened(image, doubtful).abs().mean() < deblur.sharpened(image, guess("defocus")).abs().mean()


def test_a_guess_learns_what_the_condition_says():
    """The kernel that a true diagnosis names is the target."""
    factors = {"kind": "motion", "extent_px": 12.0, "angle_deg": 40.0}
    findings = {"blur": Finding(severity=50, confidence=1.0, factors=factors)}
    truth = torch.stack([condition_vector(Diagnosis(findings=found)) for found in ({}, findings)])
    right = torch.cat([guess("none"), guess("motion", 12.0, 40.0)])
    least = deblur.guess_loss(right, truth)
    for wrong in (guess("defocus", 12.0, 40.0), guess("motion", 6.0, 40.0), guess("motion", 12.0, -40.0)):
        assert deblur.guess_loss(torch.cat([right[:1], wrong]), truth) > least + 0.2
    doubting = right.clone()
    doubting[:, deblur.DOUBT] = torch.tensor(deblur.MOST_DOUBT)
    assert deblur.guess_loss(doubting, truth) > least + 0.2


def test_a_fit_that_is_trusted_is_the_guess(photos):
    """With full trust extent and angle are those of the fit, with none those of the network."""
    guesser = deblur.Guesser()
    torch.nn.init.zeros_(guesser.layers[-1].weight)
    prints = deblur.prints(tensor(blurred(photos[0], "motion", 12.0, 35.0))[0])[None]
    condition = torch.zeros(1, CONDITION)
    for odds, motion in ((20.0, 12.0), (-20.0, math.exp(1.0))):
        bias = torch.zeros(len(deblur.KINDS) + 7)
        bias[len(deblur.KINDS)] = 1.0
        bias[len(deblur.KINDS) + 3 : len(deblur.KINDS) + 5] = odds
        guesser.layers[-1].bias.data = bias
        found = guesser(condition, prints)[0, deblur.WIDE].exp()
        assert float(found[2]) == pytest.approx(motion, rel=0.1)
        assert float(found[3]) == pytest.approx(math.exp(1.0), rel=1e-4)
