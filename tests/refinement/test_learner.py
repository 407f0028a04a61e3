"""Steps of refinement with a plain scorer in the reasoner's place: what is learnt, golden figures, resuming."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch

from components.diagnosis import Diagnosis, Finding
from components.reasoner.reader import Reading
from components.refinement.learner import Learner
from components.refinement.pictures import Pictures
from components.refinement.policy import survey
from components.refinement.quality import CleanPhotos
from components.restorer.conditioning import CONDITION, CONFIDENCES, KNOWN, SEVERITIES
from components.restorer.data import as_batch
from tests.refinement.conftest import small_restorer
from tests.tiny import REPOSITORY

GOLDEN = REPOSITORY / "tests/refinement/golden_steps.json"
WIDTH = 8


class Contrast:
    """Takes every picture for blurred, the more so the less its neighbouring pixels differ."""

    def score_severities(self, images: torch.Tensor) -> torch.Tensor:
        severities = torch.zeros(len(images), 7)
        severities[:, 4] = 100 * (1 - images.clamp(0, 1).diff(dim=-1).abs().mean((1, 2, 3)))
        return severities

    def read(self, images: list[np.ndarray]) -> Reading:
        return Reading([self.score_severities(as_batch(images))[:, 4]], torch.zeros(len(images), WIDTH))

    def diagnoses(self, reading: Reading) -> list[Diagnosis]:
        return [
            Diagnosis(findings={"blur": Finding(severity=max(1.0, severity), confidence=0.9)})
            for severity in reading.probabilities[0].tolist()
        ]


@pytest.fixture(scope="module")
def hard(photos) -> Pictures:
    generator = np.random.default_rng(2)
    clean = [photo[:64, :64] for photo in photos]
    dark = [np.clip(side * 0.5 + generator.normal(0, 4, side.shape), 0, 255).astype(np.uint8) for side in clean]
    told = torch.zeros(len(clean), CONDITION)
    told[:, SEVERITIES][:, 3], told[:, CONFIDENCES][:, 3], told[:, KNOWN] = 0.6, 0.9, 1
    # the last two have no clean side
    sides = [*clean[:-2], None, None]
    states = torch.randn((len(clean), WIDTH), generator=torch.Generator().manual_seed(3))
    return Pictures(["low_light"] * len(clean), dark, sides, told, states)


@pytest.fixture(scope="module")
def quality(photos) -> CleanPhotos:
    return CleanPhotos([photo[i : i + 64, i : i + 64] for photo in photos for i in (0, 64, 128)])


def learner_of(config, hard, quality, **changed) -> Learner:
    settings = {"steps": 6, "photos_per_step": 3, "group_size": 4, "learning_rate": 0.001, **changed}
    labelled = hard.only([i for i, clean in enumerate(hard.clean) if clean is not None])
    ordinary = labelled if len(labelled) else hard
    own, restorer, scorer = config.model_copy(update=settings), small_restorer(WIDTH), Contrast()
    states = survey(own, restorer, scorer, ordinary, quality)
    return Learner(own, restorer, scorer, hard, ordinary, quality, None, states)


def test_golden_steps(config, hard, quality):
    """A change that should not change a step does not. Whoever changes one on purpose writes the new ones down:

    RNR_WRITE_GOLDEN=1 python -m pytest tests/refinement/test_learner.py -k golden
    """
    learner = learner_of(config, hard, quality)
    logged = {f"{name} {step}": value for step in range(3) for name, value in learner.step(step).items()}
    if os.environ.get("RNR_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps({k: round(v, 6) for k, v in logged.items()}, indent=1) + "\n", encoding="utf-8")
    assert logged == pytest.approx(json.loads(GOLDEN.read_text(encoding="utf-8")), rel=1e-2, abs=1e-3)


def test_going_on_is_as_if_never_stopped(config, hard, quality):
    straight = learner_of(config, hard, quality)
    for step in range(3):
        straight.step(step)
    first = learner_of(config, hard, quality)
    first.step(0)
    second = learner_of(config, hard, quality)
    second.load_state_dict(first.state_dict())
    for step in (1, 2):
        second.step(step)
    for (name, a), (_, b) in zip(straight.restorer.named_parameters(), second.restorer.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_the_mean_of_the_weights_follows_and_the_supervised_one_stays(config, hard, quality):
    learner = learner_of(config, hard, quality)
    for step in range(2):
        learner.step(step)
    start = small_restorer(WIDTH).state_dict()
    moved, kept, frozen = (one.state_dict() for one in (learner.restorer, learner.mean, learner.supervised))
    far, near = (sum(float((one[k] - start[k]).abs().sum()) for k in start) for one in (moved, kept))
    assert far > near > 0
    assert all(torch.equal(frozen[k], start[k]) for k in start)


def contrast(learner: Learner, hard: Pictures) -> float:
    with torch.no_grad():
        painted = learner.mean(as_batch(hard.degraded), hard.conditions, hard.embeddings)
    return float(painted.diff(dim=-1).abs().mean())


def test_the_reward_is_learnt_and_the_tether_holds(config, hard, quality):
    """Without tether and fidelity the scorer's taste wins; with them the picture stays what it is."""
    off = {"weight_fidelity": 0.0, "weight_supervised": 0.0, "weight_quality": 0.0, "learning_rate": 0.003}
    free = learner_of(config, hard, quality, kl_weight=0.0, **off)
    tied = learner_of(config, hard, quality, kl_weight=30.0, kl_target=0.01, **off)
    start = contrast(free, hard)
    for step in range(4):
        free.step(step)
        tied.step(step)
    assert contrast(free, hard) > start + 0.0005
    assert abs(contrast(tied, hard) - start) < 0.5 * (contrast(free, hard) - start)


def test_photos_without_a_clean_side_join_and_are_held_tighter(config, hard, quality):
    learner = learner_of(config, hard, quality, photos_share=0.34)
    generator = torch.Generator().manual_seed(1)
    picked = [learner.pick(generator) for _ in range(20)]
    assert all(sum(hard.clean[i] is None for i in numbers) == 1 for numbers in picked)
    alone = learner_of(config, hard.only([4, 5]), quality, photos_share=1.0, weight_supervised=0.3)
    logged = alone.step(0)
    assert logged["reward_fidelity"] == 0 and np.isfinite(list(logged.values())).all()
    # the unlabelled tether: the same steps with it as strong as elsewhere go farther
    ends = []
    for times in (1.0, 50.0):
        one = learner_of(config, hard.only([4, 5]), quality, photos_share=1.0, kl_unlabelled=times, kl_weight=1.0)
        for step in range(3):
            told = one.step(step)
        ends.append(told["kl"])
    assert ends[1] < ends[0]
