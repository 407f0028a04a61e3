"""Policies of the refinement under equal processor time, measured on validation photos.

    python -m benchmarks.refinement_policies --policy regression --cpu-s 120 --out work/policies

policies: modulation (a: perturbed parameters, PIQO-like), action (b: Gaussian action per photo, from diagnosis and
hidden state), regression (c: towards the good, away from the bad), supervised (the same loss without any reward).
One thread; the pictures, which cost all of them the same, are gathered once and kept in --out.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn

from benchmarks import refinement_measure
from components import params
from components.reasoner.reader import Reasoner
from components.refinement import group
from components.refinement.config import RefineParams
from components.refinement.learner import Learner
from components.refinement.pictures import gather
from components.refinement.quality import CleanPhotos
from components.refinement.reward import Tried, reward_terms
from components.restorer import network
from components.restorer.data import as_batch, load_split
from components.restorer.train import loss_of

INNER, CLIP_RATIO = 2, 0.2


class Other:
    """What (a) and (b) share: rewards, advantages, the clipped ratio, the tether, the supervised loss."""

    sigma, rate = 0.12, 0.004

    def __init__(self, config, restorer, reasoner, pictures, quality) -> None:
        self.config, self.restorer, self.reasoner = config, restorer.requires_grad_(False), reasoner
        self.pictures, self.quality = pictures, quality
        self.tether = group.Tether(config.kl_weight, config.kl_target)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=self.rate)

    def step(self, number: int) -> dict:
        config = self.config
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
        picked = torch.randperm(len(self.pictures), generator=generator)[: config.photos_per_step].tolist()
        some = self.pictures.only(picked)
        degraded, clean, size = as_batch(some.degraded), some.clean_sides(), config.group_size
        with torch.no_grad():
            mean = self.mean(some).detach().clone()
            half = torch.randn((self.draws(len(some)), size // 2, mean.shape[-1]), generator=generator)
            action = mean[:, None] + self.sigma * torch.cat([half, -half], 1)
            painted = self.paint(degraded, some, action).clamp(0, 1)
            before = self.reasoner.score_severities(degraded).repeat_interleave(size, 0)
            nothing = torch.zeros(len(painted))
            tried = Tried(
                before,
                self.reasoner.score_severities(painted),
                painted,
                clean.repeat_interleave(size, 0),
                nothing == 0,
                self.quality.distance(painted),
                nothing,
            )
        terms = reward_terms(tried, config)
        rewards = torch.stack(list(terms.values())).sum(0).view(len(some), size)
        advantage = group.advantages(rewards)
        if len(action) == 1:  # one draw for all photos
            advantage = advantage.mean(0, keepdim=True)
        old_log = -((action - mean[:, None]) ** 2).sum(-1) / (2 * self.sigma**2)
        for _ in range(INNER):
            now = self.mean(some)
            ratio = (-((action - now[:, None]) ** 2).sum(-1) / (2 * self.sigma**2) - old_log).exp()
            clipped = ratio.clamp(1 - CLIP_RATIO, 1 + CLIP_RATIO)
            kl = (now**2).sum(-1).mean() / (2 * self.sigma**2)
            loss = -torch.minimum(ratio * advantage, clipped * advantage).mean() + self.tether.weight * kl
            loss = loss + config.weight_supervised * loss_of(self.paint(degraded, some, now[:, None]), clean)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.tether.update(float(kl))
        return {"reward": float(rewards.mean()), "kl": float(kl), "group_spread": float(rewards.std(1).mean())}


class Action(Other):
    """(b)"""

    def parameters(self):
        self.norm = nn.LayerNorm(self.pictures.embeddings.shape[1])
        self.net = nn.Sequential(
            nn.Linear(network.CONDITION + self.pictures.embeddings.shape[1], 64),
            nn.Tanh(),
            nn.Linear(64, network.ACTIONS),
        )
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)
        return [*self.net.parameters(), *self.norm.parameters()]

    def draws(self, photos: int) -> int:
        return photos

    def mean(self, some):
        return network.MOST_CHANGE * torch.tanh(self.net(torch.cat([some.conditions, self.norm(some.embeddings)], 1)))

    def paint(self, degraded, some, action):
        size = action.shape[1]
        return self.restorer(
            degraded.repeat_interleave(size, 0).contiguous(memory_format=torch.channels_last),
            some.conditions.repeat_interleave(size, 0),
            some.embeddings.repeat_interleave(size, 0),
            action.flatten(0, 1),
        )

    def final(self, degraded, some):
        return self.paint(degraded, some, self.mean(some)[:, None])


class Modulation(Other):
    """(a): one perturbation of the code that modulates every block, the same for all photos of a step."""

    def parameters(self):
        self.offset = nn.Parameter(torch.zeros(1, network.CODE))
        # the code's own scale, so that sigma is relative
        bias = self.restorer.condition[-1].bias
        self.start, self.scale = bias.detach().clone(), 0.5
        return [self.offset]

    def draws(self, photos: int) -> int:
        return 1

    def mean(self, some):
        return self.offset

    def paint(self, degraded, some, action):
        rows = []
        for offset in action[0]:
            state = {"condition.2.bias": self.start + self.scale * offset}
            rows.append(torch.func.functional_call(self.restorer, state, (degraded, some.conditions, some.embeddings)))
        return torch.stack(rows, 1).flatten(0, 1)

    def final(self, degraded, some):
        return self.paint(degraded, some, self.offset[None])


class Regression:
    """(c), and with no_reward the supervised steps alone."""

    def __init__(self, config, restorer, reasoner, pictures, quality, no_reward=False) -> None:
        self.learner = Learner(config, restorer, network.load("models/restorer"), reasoner, pictures, quality, None)
        self.no_reward = no_reward

    def step(self, number):
        if not self.no_reward:
            return self.learner.step(number)
        return refinement_measure.supervised_step(self.learner, number)

    def final(self, degraded, some):
        return self.learner.restorer(degraded, some.conditions, some.embeddings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", choices=("modulation", "action", "regression", "supervised", "none"), required=True)
    parser.add_argument("--cpu-s", type=float, default=120)
    parser.add_argument("--out", type=Path, default=Path("work/policies"))
    parser.add_argument("--set", nargs="*", default=[], help="key=value of section refine")
    parser.add_argument("--name", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = params.load("refine", RefineParams)
    config = RefineParams.model_validate(
        config.model_dump() | {k: json.loads(v) for k, v in (s.split("=", 1) for s in args.set)}
    )
    args.out.mkdir(parents=True, exist_ok=True)
    reasoner, restorer = Reasoner("models/reasoner"), network.load("models/restorer")
    cache = args.out / "pictures.pt"
    if not cache.exists():
        pairs = load_split("train")
        quality = CleanPhotos(pairs.clean[:: max(1, len(pairs.ids) // 300)])
        gathered = gather(config, pairs, reasoner, restorer)
        torch.save((gathered, quality, refinement_measure.held_out(reasoner, "val")), cache)
        print(f"gathered {len(gathered)} pictures, {time.process_time():.0f} s", flush=True)
    pictures, quality, held_out = torch.load(cache, weights_only=False)
    began = time.process_time()
    if args.policy in ("regression", "supervised", "none"):
        policy = Regression(config, restorer, reasoner, pictures, quality, args.policy == "supervised")
    else:
        policy = {"modulation": Modulation, "action": Action}[args.policy](
            config, restorer, reasoner, pictures, quality
        )
    log, step = [], 0
    while args.policy != "none" and time.process_time() - began < args.cpu_s and step < config.steps:
        log.append(policy.step(step))
        step += 1
        print(
            args.name or args.policy,
            step,
            round(time.process_time() - began),
            json.dumps({k: round(v, 4) for k, v in log[-1].items()}),
            flush=True,
        )
    used = time.process_time() - began
    with torch.no_grad():
        scores = refinement_measure.scores(policy.final, reasoner, held_out)
    out = {"policy": args.policy, "set": args.set, "steps": step, "cpu_s": used, "scores": scores, "log": log}
    (args.out / f"{args.name or args.policy}.json").write_text(json.dumps(out, indent=1))
    print(json.dumps(out["scores"], indent=1))


if __name__ == "__main__":
    main()
