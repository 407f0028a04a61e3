"""The policy that decides whether to restore once more: what it learns, what ties it, and that it resumes exactly."""

from __future__ import annotations

import copy
from typing import cast

import numpy as np
import pytest
import torch

from components.diagnosis import Diagnosis
from components.reasoner.reader import Reading
from components.refinement.judge import Judge
from components.refinement.pictures import Pictures
from components.refinement.policy import GoingOn, States, divergence, survey
from components.refinement.quality import CleanPhotos
from components.restorer.conditioning import CONDITION, KNOWN, SEVERITIES
from components.restorer.network import SHARES
from tests.refinement.conftest import small_restorer

NOISE, BLUR = SEVERITIES.start + 5, SEVERITIES.start + 4


def states(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Half of the photos are still noisy, and a second pass pays; half are still blurred, and it costs."""
    before, now = torch.zeros(count, CONDITION), torch.zeros(count, CONDITION)
    before[:, KNOWN] = now[:, KNOWN] = 1
    before[:, SEVERITIES] = 0.3
    now[::2, NOISE], now[1::2, BLUR] = 0.4, 0.4
    rewards = torch.zeros(count, len(SHARES))
    rewards[::2] = torch.tensor(SHARES)
    rewards[1::2] = -torch.tensor(SHARES)
    return before, now, rewards


def learnt(config, steps: int = 12, strictness: float = 1.0, **changed) -> tuple[GoingOn, dict[str, float]]:
    restorer = small_restorer(8)
    before, now, rewards = states(40)
    found, left = torch.full((40, 7), 50.0), torch.full((40, len(SHARES), 7), 20.0)
    given = States(before, now, {"severity": rewards}, found, left, torch.full((40,), strictness))
    going_on = GoingOn(restorer, config.model_copy(update={"policy_rate": 0.05, "policy_kl": 0.05, **changed}), given)
    told: dict[str, float] = {}
    for step in range(steps):
        told = going_on.step(torch.Generator().manual_seed(step))
    return going_on, told


def test_it_goes_on_where_it_pays_and_stops_where_it_costs(config):
    going_on, told = learnt(config)
    before, now, _ = states(6)
    assert going_on.restorer.share(before, now).tolist() == pytest.approx([SHARES[1], 0] * 3)
    assert told["goes_on"] == 0.5 and told["policy_kl"] > 0
    # half of the states gain nearly all there is, the other half lose nearly nothing
    assert 0.4 * SHARES[1] < told["reward"] < 0.5 * SHARES[1] and told["reward_severity"] == told["reward"]
    assert told["group_spread"] == pytest.approx(SHARES[1] / 2**0.5)
    assert told["drop_blur"] == pytest.approx(30)


def test_untaught_it_stops_and_where_nothing_is_found_it_stops_whatever_it_learnt(config):
    before, now, _ = states(6)
    untaught = small_restorer(8)
    assert not untaught.may_go_on and not untaught.share(before, now).any()
    assert torch.allclose(divergence(untaught.choices(before, now)), torch.zeros(6), atol=1e-6)
    taught = learnt(config)[0].restorer
    assert taught.may_go_on
    now[:, SEVERITIES] = 0
    assert not taught.share(before, now).any()


def test_the_divergence_holds_it_back_more_so_without_a_clean_side(config):
    free, tied, bare = (
        learnt(config, steps=4, **changed)[1]["policy_kl"]
        for changed in ({"policy_kl": 0.0}, {"policy_kl": 0.3}, {"policy_kl": 0.3, "strictness": 4.0})
    )
    assert free > tied > bare > 0


def test_the_survey_tries_every_share_on_what_is_still_found(config, photos):
    """A scorer that still finds noise in dark pictures alone, and is glad of every brighter one."""

    class Dark:
        def score_severities(self, images: torch.Tensor) -> torch.Tensor:
            return 100 * (1 - images.mean((1, 2, 3)))[:, None].expand(-1, 7) / 7

        def read(self, images: list[np.ndarray]) -> Reading:
            return Reading([torch.tensor([image.mean() for image in images])], torch.zeros(len(images), 8))

        def diagnoses(self, reading: Reading) -> list[Diagnosis]:
            still = {"findings": {"noise": {"severity": 50, "confidence": 0.9}, "haze": {"severity": 70}}}
            levels = reading.probabilities[0].tolist()
            return [Diagnosis.model_validate(still if level < 100 else {}) for level in levels]

    side = photos[0][:64, :64]
    degraded = [np.full_like(side, 40), np.full_like(side, 200), np.full_like(side, 60)]
    told = states(3)[0]
    some = Pictures(["noise"] * 3, degraded, [side, side, None], told, torch.zeros(3, 8))
    settings = {"weight_fidelity": 0.0, "weight_quality": 0.0, "weight_judge": 0.01, "kl_unlabelled": 4.0}
    asked = []

    class LikesMore:
        def preferences(self, degraded, restored, drop):
            asked.append((degraded.shape, restored.shape, drop.shape))
            return torch.tensor([[-1.0, 1.0]] * len(degraded))

    own, judge = config.model_copy(update=settings), cast(Judge, LikesMore())
    tried = survey(own, small_restorer(8), Dark(), some, CleanPhotos([side] * 8), judge)
    assert asked == [((2, 3, 64, 64), (2, len(SHARES), 3, 64, 64), (2, len(SHARES)))]
    assert tried is not None and tried.strictness.tolist() == [1, 4]
    assert torch.equal(tried.before, told[[0, 2]])
    # a second restoration is not told of haze again
    assert (tried.now[:, SEVERITIES] > 0).sum(1).tolist() == [1, 1] and (tried.now[:, NOISE] == 0.5).all()
    assert tried.terms["judge"].tolist() == [pytest.approx([-0.01, 0.01])] * 2
    # the small restorer brightens, so each share leaves less of what this scorer dislikes
    assert (tried.rewards.diff(dim=1) > 0).all()


def test_where_nothing_is_left_there_is_nothing_to_learn(config):
    going_on = GoingOn(small_restorer(8), config, None)
    assert going_on.step(torch.Generator().manual_seed(0)) == {"reward": 0.0, "policy_kl": 0.0, "goes_on": 0.0}
    assert not going_on.restorer.may_go_on


def test_resumed_it_learns_the_same(config):
    whole, _ = learnt(config, steps=5)
    first, _ = learnt(config, steps=3)
    second = GoingOn(small_restorer(8), first.config, first.states)
    second.restorer.load_state_dict(copy.deepcopy(first.restorer.state_dict()))
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    for step in (3, 4):
        second.step(torch.Generator().manual_seed(step))
    assert torch.equal(second.restorer.policy.weight, whole.restorer.policy.weight)
