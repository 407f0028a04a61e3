"""What the restorer's design is worth: networks trained from nothing for equally long on the same pictures.

    .venv/bin/python -m benchmarks.ablation --minutes 12 [--arms design deaf NAFNet] [--out work/ablation]

In a folder with data/pairs, data/annotations, data/priors and models/reasoner; parameters are those of the section
`restorer` of params.yaml. `design` is the product's network; `deaf` is the same without diagnosis and hidden state,
in training and at work; `NAFNet` is that of the literature, of about the same cost (the table shows how far), with
AdamW. The two blind ones learn from the plain mean of the errors: under the product's log of them good photos, which
a blind network cannot tell, hold it at doing nothing. Prints for each the seconds a megapixel, the steps that it got,
and the gain in dB on validation pairs. Each arm is kept in `--out` when it is done and not trained again.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from benchmarks.nafnet import NAFNet
from benchmarks.told import psnr
from components import params, storage
from components.restorer import network
from components.restorer.config import RestorerParams
from components.restorer.data import Pairs, as_batch, load_split
from components.restorer.deblur import guess_loss
from components.restorer.optimisers import Optimisers
from components.restorer.samples import Batch
from components.restorer.train import batches, error_of, loss_of

# costs as much as the design at 32/64/128 channels on two cores (the column s/MP says how nearly)
NAFNET = {"width": 14, "down": (1, 1, 2), "middle": 3, "up": (1, 1, 1)}
SPEED_PX, ROUNDS = 512, 5
ADAM_RATE = 1e-3


def plain(restored: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """The mean of the samples' errors, not of their logs."""
    return error_of(restored, clean).mean()


@dataclass
class Arm:
    """A network, how it sees a batch (its output and what else it learns), how it restores, and its step."""

    net: nn.Module
    learn: Callable[[Batch], torch.Tensor]
    restore: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    step: Callable[[float], None]


def design(config: RestorerParams, embedding: int, deaf: bool = False) -> Arm:
    """The product's restorer; a deaf one is told nothing, ever."""
    widths, blocks = config.widths, config.blocks
    shape = network.Shape((widths[0], widths[1], widths[2]), (blocks[0], blocks[1], blocks[2]), embedding)
    net = network.Restorer(shape).to(memory_format=torch.channels_last)
    net.policy.requires_grad_(False)
    optimisers = Optimisers(net)

    def learn(batch: Batch) -> torch.Tensor:
        told = torch.zeros_like(batch.condition) if deaf else batch.condition
        state = None if deaf else batch.embedding
        sharpened = batch.cropped(net.sharpen(batch.picture, told, batch.prints))
        restored = net(batch.degraded, told, state, whole=batch.whole, sharpened=sharpened)
        error = plain if deaf else loss_of
        return error(restored, batch.clean) + guess_loss(net.guesser(told, batch.prints), batch.truth)

    def restore(image: torch.Tensor, told: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return net(image, torch.zeros_like(told), None) if deaf else net(image, told, state)

    return Arm(net, learn, restore, lambda share: optimisers.step(config.learning_rate * share))


def nafnet() -> Arm:
    """NAFNet with AdamW."""
    net = NAFNet(**NAFNET).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), betas=(0.9, 0.9), weight_decay=1e-4)

    def step(share: float) -> None:
        optimiser.param_groups[0]["lr"] = ADAM_RATE * share
        optimiser.step()

    return Arm(net, lambda batch: plain(net(batch.degraded), batch.clean), lambda image, *_: net(image), step)


ARMS: dict[str, Callable[[RestorerParams, int], Arm]] = {
    "design": design,
    "deaf": lambda config, embedding: design(config, embedding, deaf=True),
    "NAFNet": lambda config, embedding: nafnet(),
}


def train(arm: Arm, config: RestorerParams, pairs: Pairs, minutes: float) -> int:
    """Train for so long, a half cosine over the time; returns the steps done. The mean of the weights is left."""
    mean = {name: value.clone() for name, value in arm.net.state_dict().items()}
    began, steps = math.inf, 0
    for batch in batches(config, pairs, 0):
        # the clock starts with the first pictures, not with the process that makes them
        began = min(began, time.monotonic())
        share = (time.monotonic() - began) / (60 * minutes)
        if share >= 1:
            break
        loss = arm.learn(batch)
        arm.net.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(arm.net.parameters(), 1.0)
        arm.step(min(1.0, (steps + 1) / 20) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))))
        steps += 1
        decay = min(config.ema_decay, steps / (steps + 9))
        for name, value in arm.net.state_dict().items():
            mean[name].lerp_(value, 1 - decay)
    arm.net.load_state_dict(mean)
    return steps


@torch.inference_mode()
def gains(arm: Arm, pairs: Pairs) -> dict[str, float]:
    """Mean gain in dB by case under the reasoner's diagnosis, and over all degraded pairs."""
    rows = []
    for i, case in enumerate(pairs.cases):
        degraded, clean = as_batch([pairs.degraded[i]]), as_batch([pairs.clean[i]])
        restored = arm.restore(degraded, pairs.predicted[i : i + 1], pairs.embeddings[i : i + 1]).clamp(0, 1)
        rows.append((case, psnr(restored, clean) - psnr(degraded, clean)))
    table = pd.DataFrame(rows, columns=["case", "gain"])
    means = table.groupby("case", sort=False)["gain"].mean().to_dict()
    return {"degraded": float(table.loc[table["case"] != "clean", "gain"].mean()), **means}


@torch.inference_mode()
def seconds_per_megapixel(arm: Arm, pairs: Pairs) -> float:
    """Median of ROUNDS on a random square of SPEED_PX under the diagnosis of a noisy pair."""
    image = torch.rand(1, 3, SPEED_PX, SPEED_PX).to(memory_format=torch.channels_last)
    row = pairs.cases.index("noise")
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        arm.restore(image, pairs.predicted[row : row + 1], pairs.embeddings[row : row + 1])
        taken.append(time.perf_counter() - began)
    return sorted(taken)[ROUNDS // 2] / (SPEED_PX / 1000) ** 2


def main() -> None:
    parser = argparse.ArgumentParser(description="Train networks for equally long and compare them")
    parser.add_argument("--minutes", type=float, default=12, help="of training, for each arm")
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--out", type=Path, default=Path("work/ablation"))
    args = parser.parse_args()
    config = params.load("restorer", RestorerParams)
    pairs, validation = load_split("train"), load_split("val")
    lines = {}
    for name in args.arms:
        path = args.out / f"{name}.json"
        if not path.is_file():
            torch.manual_seed(config.seed)
            arm = ARMS[name](config, pairs.embeddings.shape[1])
            size = sum(weight.numel() for weight in arm.net.parameters())
            pace = seconds_per_megapixel(arm, validation)
            steps = train(arm, config, pairs, args.minutes)
            told = {"millions": size / 1e6, "s/MP": pace, "steps": steps, **gains(arm, validation)}
            path.parent.mkdir(parents=True, exist_ok=True)
            storage.write_json(path, told)
        lines[name] = json.loads(path.read_text(encoding="utf-8"))
    print(pd.DataFrame(lines).T.round(2).to_string())


if __name__ == "__main__":
    try:
        main()
    except (network.RestorerError, params.ParamsError, FileNotFoundError) as error:
        sys.exit(f"ablation: {error}")
