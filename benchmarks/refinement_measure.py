"""What the refinement's benchmarks measure: severity left, PSNR by type, and out of distribution."""

from __future__ import annotations

import torch

from components.evaluation.strange import second_order, third_party
from components.reasoner.reader import Reasoner
from components.refinement import likeness
from components.refinement.learner import Learner
from components.refinement.pictures import Pictures, of_pairs, read, restore
from components.restorer import network
from components.restorer.data import load_split

CASES = ("haze", "rain", "snow", "low_light", "blur", "noise", "jpeg", "mixture2", "mixture3")


def held_out(
    reasoner: Reasoner, split: str, per_case: int = 5, strange: int = 30, priors: bool = True
) -> dict[str, Pictures]:
    """Pairs of a split, and their clean sides degraded twice and by other toolkits' formulae.

    Without `priors` the reasoner is asked about the pairs too: it is not the one that the stored priors are of.
    """
    pairs = load_split(split)
    known = [i for case in CASES for i in [n for n, c in enumerate(pairs.cases) if c == case][:per_case]]
    sides = pairs.clean[:: max(1, len(pairs.clean) // strange)][:strange]
    twice = [second_order(side, 90_000 + i) for i, side in enumerate(sides)]
    named = [third_party(side, i, 80_000 + i) for i, side in enumerate(sides)]
    stored = of_pairs(pairs, known)
    return {
        "known": stored if priors else read(reasoner, stored.cases, stored.degraded, stored.clean),
        "twice": read(reasoner, ["twice"] * len(sides), twice, list(sides)),
        "third": read(reasoner, [name for name, _ in named], [picture for _, picture in named], list(sides)),
    }


@torch.no_grad()
def scores(
    restorer: network.Restorer, reasoner: Reasoner, held_out: dict[str, Pictures], judge: Reasoner | None = None
) -> dict:
    """Of a restorer, which restores once more where its policy goes on; `judge`, if it is another reasoner than the
    one that is heard, reads what is left."""
    out: dict = {}
    for name, pictures in held_out.items():
        psnr, left, like = [], [], []
        for i in range(len(pictures)):
            one = pictures.only([i])
            restored, clean = (restore(restorer, reasoner, one) * 255).round() / 255, one.clean_sides()
            psnr.append(float(likeness.psnr_db(restored, clean)))
            like.append(float(likeness.ssim(restored, clean)))
            left.append(float((judge or reasoner).score_severities(restored).sum()))
        rows = list(zip(pictures.cases, psnr, strict=True))
        out[name] = {
            "psnr": sum(psnr) / len(psnr),
            "ssim": sum(like) / len(like),
            "left": sum(left) / len(left),
            "by_case": {c: sum(p for k, p in rows if k == c) / pictures.cases.count(c) for c in set(pictures.cases)},
        }
    return out


def supervised_step(learner: Learner, number: int) -> dict:
    """An update as refinement makes one, with its rate, by the supervised loss alone."""
    generator = torch.Generator().manual_seed(learner.config.seed * 1_000_003 + number)
    loss = learner.supervised_loss(generator)
    learner.update(loss, number)
    return {"loss": float(loss.detach())}
