"""Stage `train_restorer`: supervised training of the restorer under true and predicted diagnoses.

    python -m components.restorer.train

Checkpoints lie in work/restorer/<inputs>/ and survive a crash; the averaged weights become models/restorer/.
"""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path

import torch

from components import params, storage, tracking
from components.restorer import network
from components.restorer.config import RestorerParams
from components.restorer.data import Pairs, as_batch, draw_batch, load_split

OUT = Path("models/restorer")
LOG_EVERY = 10
WARMUP_STEPS = 20
# weight of the loss on differences of neighbours, which keeps edges where L1 alone would smooth them
EDGE_WEIGHT = 0.5
# errors far below this one (about 46 dB) are as good as none
LEAST_ERROR = 0.005


def loss_of(restored: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Mean over the samples of the log of an error: absolute, of pixels and of differences of neighbours.

    A plain mean is ruled by the darkest and haziest samples, whose errors are twenty times those of a compressed
    photo; in the log each sample pays for its own relative error, as PSNR counts it.
    """
    error = (restored - clean).abs().flatten(1).mean(1)
    for axis in (-1, -2):
        error = error + EDGE_WEIGHT * (restored.diff(dim=axis) - clean.diff(dim=axis)).abs().flatten(1).mean(1)
    return (error + LEAST_ERROR).log().mean()


def learning_rate(step: int, config: RestorerParams) -> float:
    """Linear warm-up, then a half cosine down to 1% of the peak."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    return config.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / config.steps)))


@torch.inference_mode()
def validate(restorer: network.Restorer, pairs: Pairs) -> dict[str, float]:
    """Mean PSNR in dB over the pairs under the reasoner's own diagnosis."""
    restored = [
        restorer(as_batch([pairs.degraded[i]]), pairs.predicted[i : i + 1], pairs.embeddings[i : i + 1]).clamp(0, 1)
        for i in range(len(pairs.ids))
    ]
    errors = torch.stack(
        [(r - as_batch([c])).square().mean().clamp(min=1e-10) for r, c in zip(restored, pairs.clean, strict=True)]
    )
    return {"val_psnr": float((-10 * errors.log10()).mean())}


def last_checkpoint(folder: Path) -> dict | None:
    """The newest checkpoint of a work folder; they are written whole or not at all."""
    found = sorted(folder.glob("step-*.pt"))
    return torch.load(found[-1], weights_only=True) if found else None


def train(config: RestorerParams, folder: Path, run) -> network.Restorer:
    """Train from the last checkpoint in `folder`, or from nothing; returns the averaged network."""
    torch.manual_seed(config.seed)
    pairs, validation = load_split("train"), load_split("val")
    widths, blocks = config.widths, config.blocks
    shape = network.Shape(
        (widths[0], widths[1], widths[2]), (blocks[0], blocks[1], blocks[2]), pairs.embeddings.shape[1]
    )
    restorer = network.Restorer(shape).to(memory_format=torch.channels_last)
    averaged = network.Restorer(shape).to(memory_format=torch.channels_last)
    averaged.load_state_dict(restorer.state_dict())
    # the policy is refinement's to learn
    weights = [p for name, p in restorer.named_parameters() if not name.startswith("policy")]
    restorer.policy.requires_grad_(False)
    optimizer = torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=1e-4)
    first, state = 0, last_checkpoint(folder)
    if state:
        restorer.load_state_dict(state["restorer"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
        print(f"restorer: resuming from step {first}", flush=True)
    recent: list[float] = []
    best = -math.inf
    for step in range(first, config.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        degraded, clean, condition, embedding = draw_batch(pairs, config, step)
        loss = loss_of(restorer(degraded, condition, embedding), clean)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        decay = min(config.ema_decay, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, value in zip(averaged.parameters(), restorer.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        recent.append(loss.item())
        done = step + 1
        if done % LOG_EVERY == 0:
            mean_loss = sum(recent) / len(recent)
            run.metrics({"loss": mean_loss, "learning_rate": learning_rate(step, config)}, step=done)
            print(f"restorer step {done}/{config.steps} loss {mean_loss:.5f}", flush=True)
            recent = []
        if done % config.save_every == 0 or done == config.steps:
            path = folder / f"step-{done:07d}.pt"
            with storage.whole_file(path) as part:
                state = {"step": done, "restorer": restorer.state_dict(), "averaged": averaged.state_dict()}
                torch.save({**state, "optimizer": optimizer.state_dict()}, part)
            for old in sorted(folder.glob("step-*.pt"))[: -config.keep_checkpoints]:
                old.unlink()
            metrics = validate(averaged, validation)
            run.metrics(metrics, step=done)
            run.checkpoint(path, done, metrics, best=metrics["val_psnr"] > best)
            best = max(best, metrics["val_psnr"])
            print(f"restorer step {done}/{config.steps} val_psnr {metrics['val_psnr']:.3f} dB", flush=True)
    return averaged


def main() -> None:
    config = params.load("restorer", RestorerParams)
    inputs = storage.training_shards("data/pairs", "data/annotations", "data/priors")
    folder = Path("work/restorer") / storage.digest_inputs(config.model_dump(), inputs)
    with (
        storage.only_one(folder),
        tracking.stage_run("train_restorer", config.model_dump(), keep_checkpoints=config.keep_checkpoints) as run,
    ):
        averaged = train(config, folder, run)
        metrics = validate(averaged, load_split("val"))
        shutil.rmtree(OUT, ignore_errors=True)
        network.save(averaged, OUT)
        storage.write_json("metrics/train_restorer.json", metrics)
        run.metrics(metrics)


if __name__ == "__main__":
    tracking.telemetry_off()
    try:
        main()
    except (params.ParamsError, tracking.TrackingError, FileNotFoundError) as error:
        sys.exit(f"train_restorer: {error}")
