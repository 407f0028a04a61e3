"""When to restore a second time: a stochastic policy over shares of a second restoration, and how it learns.

After a restoration the reasoner looks again. What it said before and says now is the state; how much of a second
restoration is taken (`network.SHARES`) is the action, and 0 ends the matter. Every action is tried on every candidate,
so a group is complete and its advantages need no sampling (expected policy gradient, Ciosek and Whiteson 2018). Steps
are clipped (Schulman et al. 2017), and a divergence ties the policy to the supervised restorer, which stops.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from components.diagnosis import TYPES
from components.refinement.config import RefineParams
from components.refinement.judge import Judge
from components.refinement.pictures import READ_AT_ONCE, Pictures, Sees, look_again, one_by_one
from components.refinement.quality import CleanPhotos
from components.refinement.reward import Tried, reward_terms
from components.restorer.conditioning import SEVERITIES
from components.restorer.data import as_batch
from components.restorer.network import SHARES, STOPS, Restorer

# updates per step of the training, and how many states one of them sees
UPDATES, AT_ONCE = 8, 256
# how far the probability of an action may move within a step and still be rewarded
CLIP = 0.2


@dataclass(frozen=True)
class States:
    """M states in which there was something to decide, and what came of each decision.

    `before`, `now` (M, CONDITION). `terms`: each term of the reward (M, SHARES). `found` (M, 7): expected severities of
    the degraded pictures, `left` (M, SHARES, 7) of what each share makes of them. `strictness` (M,): how strongly the
    divergence counts.
    """

    before: torch.Tensor
    now: torch.Tensor
    terms: dict[str, torch.Tensor]
    found: torch.Tensor
    left: torch.Tensor
    strictness: torch.Tensor

    def __len__(self) -> int:
        return len(self.strictness)

    @property
    def rewards(self) -> torch.Tensor:
        """(M, SHARES) the sum of the terms."""
        return torch.stack(list(self.terms.values())).sum(0)

    @staticmethod
    def joined(parts: list[States]) -> States | None:
        """All of them, None where there are none."""
        if not parts:
            return None
        before, now, found, left, strictness = (
            torch.cat([getattr(part, name) for part in parts])
            for name in ("before", "now", "found", "left", "strictness")
        )
        terms = {name: torch.cat([part.terms[name] for part in parts]) for name in parts[0].terms}
        return States(before, now, terms, found, left, strictness)


@torch.no_grad()
def survey(
    config: RefineParams,
    restorer: Restorer,
    reasoner: Sees,
    pictures: Pictures,
    quality: CleanPhotos,
    judge: Judge | None = None,
) -> States | None:
    """Every share of a second restoration, tried where something is left after the first.

    None where nothing is left of any picture.
    """
    parts = []
    for start in range(0, len(pictures), READ_AT_ONCE):
        some = pictures.only(list(range(start, min(start + READ_AT_ONCE, len(pictures)))))
        now = look_again(reasoner, one_by_one(restorer, some))
        still = [i for i, told in enumerate(now.conditions) if float(told[SEVERITIES].max()) > 0]
        if still:
            some, now = some.only(still), now.only(still)
            once, twice = as_batch(now.degraded), one_by_one(restorer, now)
            shares = [((once + share * (twice - once)) * 255).round() / 255 for share in SHARES]
            parts.append(_tried(config, reasoner, some, now, torch.stack(shares, 1), quality, judge))
    return States.joined(parts)


def _tried(
    config: RefineParams,
    reasoner: Sees,
    some: Pictures,
    now: Pictures,
    restored: torch.Tensor,
    quality: CleanPhotos,
    judge: Judge | None,
) -> States:
    """The states of M pictures, from what the reasoner says of them restored once, `now`, and from what each share of a
    second restoration makes of them, (M, SHARES, 3, H, W)."""
    many, degraded, clean = len(SHARES), as_batch(some.degraded), some.clean_sides()
    known = torch.tensor([side is not None for side in some.clean])
    found, each = reasoner.score_severities(degraded), restored.flatten(0, 1)
    left = reasoner.score_severities(each)
    nothing = torch.zeros(len(each))
    far = quality.distance(each) if config.weight_quality else nothing
    before = found.repeat_interleave(many, 0)
    preferred = judge.preferences(degraded, restored, (before - left).sum(1).view(-1, many)) if judge else nothing
    tried = Tried(
        before,
        left,
        each,
        clean.repeat_interleave(many, 0),
        known.repeat_interleave(many),
        far,
        preferred.flatten(),
    )
    terms = {name: values.view(-1, many) for name, values in reward_terms(tried, config).items()}
    strictness = torch.where(known, 1.0, config.kl_unlabelled)
    return States(some.conditions, now.conditions, terms, found, left.unflatten(0, (-1, many)), strictness)


class GoingOn:
    """The policy of a restorer in training, and the states that it learns from; None if there are none."""

    def __init__(self, restorer: Restorer, config: RefineParams, states: States | None) -> None:
        self.restorer, self.config, self.states = restorer, config, states
        self.optimizer = torch.optim.Adam(restorer.policy.parameters(), lr=config.policy_rate)
        if states is not None:
            # in units of what is at stake in a mean group: divided by its own spread, a group in which nothing is
            # would count as much as one in which everything is
            margin = states.rewards - states.rewards[:, :1]
            self.stakes = margin / margin.std(1).mean().clamp(min=1e-4)

    def step(self, generator: torch.Generator) -> dict[str, float]:
        """Some updates; for the log what the policy expects of every term of the reward, and how far it has gone."""
        states = self.states
        if states is None:
            return {"reward": 0.0, "policy_kl": 0.0, "goes_on": 0.0}
        with torch.no_grad():
            old = self.restorer.choices(states.before, states.now).exp()
        for _ in range(UPDATES):
            loss = self.loss(states, old, torch.randperm(len(states), generator=generator)[:AT_ONCE])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        return self.report(states)

    def loss(self, states: States, old: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Of some states, from the probabilities of all before this step (M, SHARES)."""
        old, stakes = old[rows], self.stakes[rows]
        new = self.restorer.choices(states.before[rows], states.now[rows])
        advantage = stakes - (old * stakes).sum(1, keepdim=True)
        ratio = new.exp() / old
        gain = torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
        tied = self.config.policy_kl * states.strictness[rows] * divergence(new)
        return (tied - (old * gain).sum(1)).mean()

    @torch.no_grad()
    def report(self, states: States) -> dict[str, float]:
        """Expected terms and drops by type, the spread within the groups, the divergence, and how often it goes on."""
        choices = self.restorer.choices(states.before, states.now)
        shares, rewards = choices.exp(), states.rewards
        terms = {f"reward_{name}": float((shares * term).sum(1).mean()) for name, term in states.terms.items()}
        left = (shares[..., None] * states.left).sum(1)
        drops = {
            f"drop_{kind}": float((states.found - left)[states.found[:, i] >= 1, i].mean())
            for i, kind in enumerate(TYPES)
            if bool((states.found[:, i] >= 1).any())
        }
        return {
            **terms,
            **drops,
            "reward": float((shares * rewards).sum(1).mean()),
            "group_spread": float(rewards.std(1).mean()),
            "policy_kl": float(divergence(choices).mean()),
            "goes_on": float((choices.argmax(1) > 0).float().mean()),
        }


def divergence(choices: torch.Tensor) -> torch.Tensor:
    """(B,) KL of log-probabilities (B, SHARES) from the policy that has learnt nothing."""
    return (choices.exp() * (choices - choices.new_tensor(STOPS).log_softmax(0))).sum(1)
