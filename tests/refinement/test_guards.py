"""The guards: measures that agree with a reference, a scorer that sees damage, and refusals with reasons."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.diagnosis import TYPES
from components.refinement import artefacts, guards, likeness
from components.refinement.scorer import Scorer, features
from components.restorer.conditioning import CONDITION
from components.restorer.data import Pairs, as_batch


@pytest.fixture(scope="module")
def clean(photos) -> torch.Tensor:
    return as_batch(photos[:4])


def noisy(pictures: torch.Tensor, sigma: float) -> torch.Tensor:
    return (pictures + sigma * torch.randn(pictures.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


def smooth(pictures: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(pictures, 5, stride=1, padding=2, count_include_pad=False)


@pytest.mark.parametrize(("name", "close"), [("ssim", 1e-3), ("gmsd", 2e-3)])
def test_likeness_agrees_with_pyiqa(clean, name, close):
    import pyiqa

    reference = pyiqa.create_metric(name, device=torch.device("cpu"))
    for damaged in (noisy(clean, 0.05), smooth(clean)):
        # both see 8 bits
        pair = [(side * 255).round() / 255 for side in (damaged, clean)]
        own = getattr(likeness, name)(*pair)
        theirs = torch.cat([reference(a[None], b[None]).flatten() for a, b in zip(*pair, strict=True)])
        assert torch.allclose(own, theirs.float(), atol=close), (own, theirs)


def test_vif_falls_with_damage_and_grows_with_contrast(clean):
    """No reference of the pixel-domain form is installed; pyiqa's is that of wavelets, another number."""
    values = [float(likeness.vif(damaged, clean).mean()) for damaged in (clean, noisy(clean, 0.02), noisy(clean, 0.1))]
    assert 1.001 > values[0] > 0.999 and values[0] > values[1] + 0.1 > values[2] + 0.2
    assert float(likeness.vif(smooth(clean), clean).mean()) < 0.6
    assert float(likeness.vif(torch.full_like(clean, 0.5), clean).max()) < 0.02
    # the one measure of its kind that knows enhancement: more contrast tells more than the photo did
    mean = clean.mean((1, 2, 3), keepdim=True)
    assert float(likeness.vif(mean + 1.3 * (clean - mean), clean).mean()) > 1


def test_equal_pictures_are_alike(clean):
    assert torch.allclose(likeness.ssim(clean, clean), torch.ones(4))
    assert torch.allclose(likeness.vif(clean, clean), torch.ones(4), atol=1e-4)
    assert float(likeness.gmsd(clean, clean).max()) == 0
    assert float(likeness.psnr_db(clean, clean).min()) == likeness.BEST_DB


def test_each_artefact_is_seen_by_its_measure(clean):
    grid = clean.clone()
    grid[..., ::4, :] = (grid[..., ::4, :] + 0.03).clamp(0, 1)
    red = clean.clone()
    red[:, 0] = (red[:, 0] + 0.05).clamp(0, 1)
    for name, spoilt in (("peaks", grid), ("edges", smooth(clean)), ("colour", red)):
        found = {key: float(value.mean()) for key, value in artefacts.artefacts(spoilt, clean).items()}
        assert found[name] > 0.02, found
    nothing = artefacts.artefacts(clean, clean)
    assert all(float(value.max()) == 0 for value in nothing.values())


def test_the_second_scorer_learns_to_see_noise(photos):
    windows = [p[i : i + 96, j : j + 96] for p in photos for i in (0, 48, 96) for j in (0, 48, 96)]
    generator = np.random.default_rng(1)
    degraded, true = [], torch.zeros(len(windows), CONDITION)
    for index, window in enumerate(windows):
        level = (index % 4) / 3
        degraded.append(np.clip(window + generator.normal(0, 40 * level, window.shape), 0, 255).astype(np.uint8))
        true[index, TYPES.index("noise")] = level
    names = [str(i) for i in range(len(windows))]
    pairs = Pairs(names, names, degraded, windows, true, true, torch.zeros(len(windows), 4))
    scorer = Scorer(pairs, seed=1)
    assert scorer.error(pairs) < 8
    said = scorer.severities(as_batch(degraded))[:, TYPES.index("noise")]
    assert float(said[3::4].mean()) > float(said[0::4].mean()) + 40
    # the same seed gives the same scorer, whatever was drawn before
    torch.rand(3)
    assert torch.equal(Scorer(pairs, seed=1).severities(as_batch(degraded)), scorer.severities(as_batch(degraded)))
    assert torch.isfinite(features(torch.zeros(1, 3, 96, 96))).all()


def measured(**worse: float) -> dict[str, torch.Tensor]:
    base = {"psnr": 26.0, "ssim": 0.8, "gmsd": 0.1, "vif": 0.4, "scorer": 30.0, "peaks": 0.2, "edges": 0.3}
    base["colour"] = 0.01
    return {name: torch.full((4,), value + worse.get(name, 0.0)) for name, value in base.items()}


@pytest.mark.parametrize(
    ("name", "by"),
    [("psnr", -0.2), ("ssim", -0.05), ("gmsd", 0.05), ("vif", -0.05), ("scorer", 5.0), ("peaks", 0.5),
     ("edges", 0.3), ("colour", 0.02), ("psnr", float("nan"))],
)  # fmt: skip
def test_each_guard_refuses_with_its_reason(config, name, by):
    cases = ["haze", "haze", "noise", "noise"]
    assert guards.failures(measured(), measured(), cases, config) == []
    # better in all is no offence
    better = measured(psnr=1, ssim=0.1, gmsd=-0.05, vif=0.1, scorer=-9, peaks=-0.1, edges=-0.1, colour=-0.005)
    assert guards.failures(measured(), better, cases, config) == []
    reasons = guards.failures(measured(), measured(**{name: by}), cases, config)
    assert reasons and next(g for g in guards.GUARDS if g.name == name).words in reasons[0]


def test_one_type_that_loses_is_enough(config):
    refined = measured()
    refined["psnr"] = torch.tensor([26.5, 26.5, 25.7, 25.7])
    (reason,) = guards.failures(measured(), refined, ["haze", "haze", "noise", "noise"], config)
    assert reason.startswith("PSNR of noise: 26.00 -> 25.70 dB")
    figures = guards.report(measured(), refined, ["haze", "haze", "noise", "noise"])
    assert figures["val_psnr_noise_refined"] == pytest.approx(25.7)
    assert figures["val_ssim_supervised"] == pytest.approx(0.8)
