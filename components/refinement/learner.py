"""One step of refinement: a group of tries for some photos, their rewards, and the restorer moved by them."""

from __future__ import annotations

import copy

import torch

from components.refinement import group
from components.refinement.config import RefineParams
from components.refinement.judge import Judge
from components.refinement.pictures import Pictures, Sees, look_again
from components.refinement.policy import GoingOn, States
from components.refinement.quality import CleanPhotos
from components.refinement.reward import Tried, drops_by_type, reward_terms
from components.restorer import network
from components.restorer.data import as_batch
from components.restorer.train import loss_of

# Adam's first steps are as long as any other and know the least
WARMUP_STEPS = 5
# of the running mean of the weights, which is what is kept: single steps are noisy
DECAY = 0.9


def learning_rate(number: int, config: RefineParams) -> float:
    """Linear warm-up, then linear down to nothing."""
    return config.learning_rate * min(1.0, (number + 1) / WARMUP_STEPS) * (1 - number / config.steps)


class Learner:
    """The restorer in training, the supervised one it is tethered to, and what judges its tries.

    `states` are what the policy learns from (policy.py). `mean` is the running mean of the restorer in training, which
    is what is kept.
    """

    def __init__(
        self,
        config: RefineParams,
        supervised: network.Restorer,
        reasoner: Sees,
        pictures: Pictures,
        ordinary: Pictures,
        quality: CleanPhotos,
        judge: Judge | None,
        states: States | None,
    ) -> None:
        self.config, self.supervised = config, supervised
        self.restorer, self.mean = copy.deepcopy(supervised), copy.deepcopy(supervised).requires_grad_(False)
        self.reasoner, self.quality, self.judge = reasoner, quality, judge
        # groups try the hard pictures; the supervised loss is that of all kinds, so that these do not set the tone
        self.pictures, self.ordinary = pictures, ordinary
        self.tether = group.Tether(config.kl_weight, config.kl_target)
        self.labelled = [i for i, clean in enumerate(pictures.clean) if clean is not None]
        self.photos = [i for i, clean in enumerate(pictures.clean) if clean is None]
        # the policy has an optimiser of its own; without a gradient this one passes it over
        self.optimizer = torch.optim.Adam(self.restorer.parameters(), lr=config.learning_rate)
        self.going_on = GoingOn(self.restorer, config, states)

    def state_dict(self) -> dict:
        """All that the next step depends on."""
        return {
            "weights": _weights(self.restorer),
            "mean": _weights(self.mean),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "kl_weight": self.tether.weight,
            "policy_optimizer": copy.deepcopy(self.going_on.optimizer.state_dict()),
        }

    def load_state_dict(self, state: dict) -> None:
        self.restorer.load_state_dict(state["weights"])
        self.mean.load_state_dict(state["mean"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.tether.weight = state["kl_weight"]
        self.going_on.optimizer.load_state_dict(state["policy_optimizer"])

    def pick(self, generator: torch.Generator) -> list[int]:
        """The pictures of a step: a share of them without clean sides where there are such."""
        count = self.config.photos_per_step
        bare = round(self.config.photos_share * count) if self.photos else 0
        picked = []
        for numbers, wanted in ((self.labelled, count - bare), (self.photos, bare)):
            picked += [numbers[i] for i in torch.randperm(len(numbers), generator=generator)[:wanted].tolist()]
        return picked

    def step(self, number: int) -> dict[str, float]:
        """Step `number` of the training; every term for the log. The same number draws the same."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + number)
        painted = self.painting_step(number, generator) if self.config.learning_rate else {}
        decided: dict[str, float] = {}
        if self.config.policy_rate:
            decided = self.going_on.step(generator)
            self.mean.policy.load_state_dict(self.restorer.policy.state_dict())
        # where both learn, the reward that is told is that of what was painted in this step
        return decided | painted

    def painting_step(self, number: int, generator: torch.Generator) -> dict[str, float]:
        """Move the network towards what the better members of some groups painted."""
        config, restorer = self.config, self.restorer
        some = self.pictures.only(self.pick(generator))
        degraded, clean = as_batch(some.degraded), some.clean_sides()
        known = torch.tensor([side is not None for side in some.clean])
        tried, members = self.try_out(some, degraded, clean, known, generator)
        terms = reward_terms(tried, config)
        rewards = torch.stack(list(terms.values())).sum(0).view(len(some), config.group_size)
        advantage = group.advantages(rewards)
        with torch.no_grad():
            supervised = self.supervised(degraded, some.conditions, some.embeddings)
            error = (supervised.clamp(0, 1) - clean).square().flatten(1).mean(1).clamp(min=group.LEAST_SPREAD)
        # without a clean side nothing but the tether keeps the picture what it is
        strictness = torch.where(known, 1.0, config.kl_unlabelled)
        now = restorer(degraded, some.conditions, some.embeddings)
        old = now.detach()
        members = old[:, None] + group.local((members - old[:, None]).flatten(0, 1)).view_as(members)
        spread = group.spread_of(members, old)
        # what the supervised restorer got right may move by no more than it was wrong
        apart = group.divergence(now, supervised, torch.where(known, torch.minimum(spread, error), spread))
        loss = group.regression(now, group.verdict(old, members, advantage), spread).mean()
        loss = loss + self.tether.weight * (strictness * apart).mean()
        if config.weight_supervised:
            loss = loss + config.weight_supervised * self.supervised_loss(generator)
        self.update(loss, number)
        kl = float(apart.detach().mean())
        self.tether.update(kl)
        logged = {f"reward_{name}": float(values.mean()) for name, values in terms.items()}
        return {
            **logged,
            **drops_by_type(tried),
            "reward": float(rewards.mean()),
            "group_spread": float(rewards.std(1).mean()),
            "kl": kl,
            "kl_weight": self.tether.weight,
        }

    def update(self, loss: torch.Tensor, number: int) -> None:
        """Down this loss with the rate of step `number`."""
        for values in self.optimizer.param_groups:
            values["lr"] = learning_rate(number, self.config)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.restorer.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            for mean, weight in zip(self.mean.parameters(), self.restorer.parameters(), strict=True):
                mean.lerp_(weight, 1 - DECAY)

    def supervised_loss(self, generator: torch.Generator) -> torch.Tensor:
        """The training's own loss on as many ordinary pictures as a step has photos, drawn anew."""
        order = torch.randperm(len(self.ordinary), generator=generator)[: self.config.photos_per_step]
        some = self.ordinary.only(order.tolist())
        return loss_of(self.restorer(as_batch(some.degraded), some.conditions, some.embeddings), some.clean_sides())

    @torch.no_grad()
    def try_out(
        self, some: Pictures, degraded: torch.Tensor, clean: torch.Tensor, known: torch.Tensor, generator
    ) -> tuple[Tried, torch.Tensor]:
        """What the reward must know of P * G members, and their pictures (P, G, 3, H, W), unclipped.

        Half of a group hears the diagnosis a little differently. The other half goes on from there: what the reasoner
        still finds in a member's picture is restored once more.
        """
        size, restorer = self.config.group_size, self.restorer
        half = size // 2
        told, action = group.explore(some.conditions, half, self.config.explore_sigma, generator)
        repeated = degraded.repeat_interleave(half, 0).contiguous(memory_format=torch.channels_last)
        once = restorer(repeated, told, some.embeddings.repeat_interleave(half, 0), action)
        again = look_again(self.reasoner, once)
        twice = restorer(once.clamp(0, 1), again.conditions, again.embeddings)
        painted = torch.stack([side.unflatten(0, (-1, half)) for side in (once, twice)], 1).flatten(0, 2)
        restored = painted.clamp(0, 1)
        before = self.reasoner.score_severities(degraded).repeat_interleave(size, 0)
        after = self.reasoner.score_severities(restored)
        nothing = torch.zeros(len(restored))
        far = self.quality.distance(restored) if self.config.weight_quality else nothing
        preferred = nothing
        if self.judge:
            doubt = (before - after).sum(1).view(-1, size)
            preferred = self.judge.preferences(degraded, restored.view(-1, size, *degraded.shape[1:]), doubt).flatten()
        tried = Tried(
            before, after, restored, clean.repeat_interleave(size, 0), known.repeat_interleave(size), far, preferred
        )
        return tried, painted.view(-1, size, *degraded.shape[1:])


def _weights(restorer: network.Restorer) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in restorer.state_dict().items()}
