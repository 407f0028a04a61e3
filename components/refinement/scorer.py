"""A second scorer of damage that the reward never asks: a small network on statistics made by hand.

Whoever fools the reasoner need not fool this one: it shares neither weights nor measurements with it. Its features are
those of blind quality assessment (Mittal et al. 2012): contrast-normalised luma, its products with neighbours, and
plain tones; it learns severities from the training pairs in seconds.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.diagnosis import TYPES
from components.restorer.conditioning import SEVERITIES
from components.restorer.data import Pairs, as_batch

SCALES = 3
HIDDEN, STEPS, RATE = 96, 400, 4e-3
MOST_PAIRS = 800
AT_ONCE = 32
SHARES = (0.01, 0.1, 0.5, 0.9, 0.99)
LEAST = 1e-4


def features(pictures: Tensor) -> Tensor:
    """(N, F) of pictures (N, 3, H, W) in [0, 1]."""
    grey = pictures.mean(1, keepdim=True)
    out = list(_tones(pictures, grey))
    for scale in range(SCALES):
        if scale:
            grey = F.avg_pool2d(grey, 2)
        out += _contrasts(grey)
        if not scale:
            out += _grid(grey)
    return torch.stack(out, 1)


def _tones(pictures: Tensor, grey: Tensor) -> list[Tensor]:
    darkest, lightest = pictures.amin(1), pictures.amax(1)
    sampled = torch.stack([grey[:, 0], darkest, lightest - darkest])[..., ::3, ::3].flatten(2)
    shares = torch.tensor(SHARES)
    rows = [row for field in sampled for row in torch.quantile(field, shares, dim=1)]
    dark = -F.max_pool2d(-darkest[:, None], 15, stride=8)
    return [*rows, dark.mean((1, 2, 3)), dark.amin((1, 2, 3))]


def _contrasts(grey: Tensor) -> list[Tensor]:
    """Contrast-normalised luma (deviation from the local mean in local deviations) and its neighbours' products."""

    def near(field: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(field, (3, 3, 3, 3), mode="replicate"), 7, stride=1)

    mean = near(grey)
    spread = (near(grey.square()) - mean.square()).clamp(min=0).sqrt()
    field = (grey - mean) / (spread + 1 / 255)
    tails = (field.square().square().mean((1, 2, 3)) + LEAST).log()
    rows = [field.square().mean((1, 2, 3)), field.abs().mean((1, 2, 3)), tails]
    for a, b in (
        (field[..., 1:], field[..., :-1]),
        (field[..., 1:, :], field[..., :-1, :]),
        (field[..., 1:, 1:], field[..., :-1, :-1]),
        (field[..., 1:, :-1], field[..., :-1, 1:]),
    ):
        product = a * b
        rows += [product.mean((1, 2, 3)), product.abs().mean((1, 2, 3)), (product > 0).float().mean((1, 2, 3))]
    levels = torch.quantile((spread + LEAST).log().flatten(1)[:, ::7], torch.tensor(SHARES), dim=1)
    bend = (grey[..., 2:] - 2 * grey[..., 1:-1] + grey[..., :-2]).abs().mean((1, 2, 3))
    return [*rows, *levels, (bend + LEAST).log()]


def _grid(grey: Tensor) -> list[Tensor]:
    """Steps on the codec's 8-px grid over all steps, by columns and rows."""
    rows = []
    for field in (grey[:, 0], grey[:, 0].transpose(1, 2)):
        step = field.diff(dim=-1).abs().mean(1)
        rows.append((step[:, 7::8].mean(1) + LEAST).log() - (step.mean(1) + LEAST).log())
    return rows


def _features_of(pictures: list[np.ndarray]) -> Tensor:
    return torch.cat([features(as_batch(pictures[i : i + AT_ONCE])) for i in range(0, len(pictures), AT_ONCE)])


class Scorer:
    """Severities 0..100 of pictures by hand-made features."""

    def __init__(self, pairs: Pairs, seed: int) -> None:
        """Learns from up to MOST_PAIRS training pairs, and that their clean sides have no damage."""
        every = max(1, len(pairs.ids) // MOST_PAIRS)
        chosen = list(range(0, len(pairs.ids), every))
        sides = [pairs.clean[i] for i in chosen[::3]]
        rows = _features_of([pairs.degraded[i] for i in chosen] + sides)
        truth = torch.cat([pairs.true[chosen][:, SEVERITIES], torch.zeros(len(sides), len(TYPES))])
        self.mean, self.spread = rows.mean(0), rows.std(0).clamp(min=LEAST)
        # a generator of its own: what was drawn before does not matter
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.net = nn.Sequential(
                nn.Linear(rows.shape[1], HIDDEN), nn.ReLU(), nn.Dropout(0.2), nn.Linear(HIDDEN, len(TYPES))
            )
            optimizer = torch.optim.AdamW(self.net.parameters(), lr=RATE, weight_decay=0.02)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
            told = self._scaled(rows)
            for _ in range(STEPS):
                loss = F.smooth_l1_loss(self.net(told), truth, beta=0.1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        self.net.eval()

    def _scaled(self, rows: Tensor) -> Tensor:
        return ((rows - self.mean) / self.spread).clamp(-5, 5)

    @torch.no_grad()
    def severities(self, pictures: Tensor) -> Tensor:
        """(N, 7) in 0..100 of pictures (N, 3, H, W) in [0, 1]."""
        rows = torch.cat([features(some) for some in pictures.split(AT_ONCE)])
        return 100 * self.net(self._scaled(rows)).clamp(0, 1)

    def error(self, pairs: Pairs) -> float:
        """Mean absolute error in points over the types of unseen pairs: how much it may be believed."""
        truth = 100 * pairs.true[:, SEVERITIES]
        said = torch.cat([self.severities(as_batch(pairs.degraded[i : i + 32])) for i in range(0, len(pairs.ids), 32)])
        return float((said - truth).abs().mean())
