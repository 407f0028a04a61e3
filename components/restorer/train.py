"""Stage `train_restorer`: supervised training of the restorer under true and predicted diagnoses.

    python -m components.restorer.train

Checkpoints lie in work/restorer/<inputs>/ and survive a crash; the averaged weights become models/restorer/.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from components import lifeline, params, storage, tracking
from components.restorer import network
from components.restorer.config import RestorerParams
from components.restorer.data import Pairs, as_batch, load_split
from components.restorer.deblur import guess_loss
from components.restorer.optimisers import Optimisers
from components.restorer.samples import BATCHES, Batch, Chunks
from components.storage import parquet

OUT = Path("models/restorer")
REASONER = Path("models/reasoner")
LOG_EVERY = 10
WARMUP_STEPS = 20
# weight of the loss on differences of neighbours, which keeps edges where L1 alone would smooth them
EDGE_WEIGHT = 0.5
# errors far below this one (about 46 dB) are as good as none
LEAST_ERROR = 0.005


def error_of(restored: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """(B,) absolute error of each picture (B, 3, H, W): of pixels, and of differences of neighbours."""
    error = (restored - clean).abs().flatten(1).mean(1)
    for axis in (-1, -2):
        error = error + EDGE_WEIGHT * (restored.diff(dim=axis) - clean.diff(dim=axis)).abs().flatten(1).mean(1)
    return error


def loss_of(restored: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Mean over the samples of the logs of their errors.

    A plain mean is ruled by the darkest and haziest samples, whose errors are twenty times those of a compressed
    photo; in the log each sample pays for its own relative error, as PSNR counts it.
    """
    return (error_of(restored, clean) + LEAST_ERROR).log().mean()


def learning_rate(step: int, config: RestorerParams) -> float:
    """Linear warm-up, then a half cosine down to 1% of the peak."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    return config.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / config.steps)))


@torch.inference_mode()
def validate(restorer: network.Restorer, pairs: Pairs, device: str = "cpu") -> dict[str, float]:
    """Mean PSNR in dB over the pairs under the reasoner's own diagnosis."""
    told, embeddings = pairs.predicted.to(device), pairs.embeddings.to(device)
    errors = []
    for i in range(len(pairs.ids)):
        image, clean = (as_batch([side[i]]).to(device) for side in (pairs.degraded, pairs.clean))
        restored = restorer(image, told[i : i + 1], embeddings[i : i + 1]).clamp(0, 1)
        errors.append((restored - clean).square().mean().clamp(min=1e-10))
    return {"val_psnr": float((-10 * torch.stack(errors).log10()).mean())}


def last_checkpoint(folder: Path) -> dict | None:
    """The newest checkpoint of a work folder; they are written whole or not at all."""
    found = sorted(folder.glob("step-*.pt"))
    return torch.load(found[-1], weights_only=True, map_location="cpu") if found else None


def new_restorer(config: RestorerParams, embedding: int) -> network.Restorer:
    """An untrained restorer, or that of `config.base`. Raises RestorerError where the sizes do not agree."""
    widths, blocks = config.widths, config.blocks
    shape = network.Shape((widths[0], widths[1], widths[2]), (blocks[0], blocks[1], blocks[2]), embedding)
    if config.base == "scratch":
        return network.Restorer(shape)
    restorer = network.load(config.base).train()
    if restorer.shape != shape:
        raise network.RestorerError(
            f"restorer.base: {config.base} has {restorer.shape}, but widths, blocks and reasoner ask for {shape}"
        )
    return restorer


def batches(config: RestorerParams, pairs: Pairs, first: int) -> Iterator[Batch]:
    """Batches `first`, first + 1, ... of the training, made in a process of their own."""
    chunks = Chunks(pairs, config, REASONER)
    start = first // BATCHES
    rest = torch.utils.data.Subset(chunks, range(start, len(chunks)))
    loader = torch.utils.data.DataLoader(
        rest, batch_size=None, num_workers=1, worker_init_fn=lambda _: lifeline.die_with_parent()
    )
    return itertools.islice(itertools.chain.from_iterable(loader), first - start * BATCHES, None)


def train(
    config: RestorerParams, folder: Path, run, minutes: float = math.inf, device: str = "cpu"
) -> tuple[network.Restorer, int]:
    """Train from the last checkpoint in `folder`, or from nothing, for at most `minutes`.

    Returns the averaged network and the last step done.
    """
    torch.manual_seed(config.seed)
    pairs, validation = load_split("train"), load_split("val")
    restorer = new_restorer(config, pairs.embeddings.shape[1]).to(device).to(memory_format=torch.channels_last)
    averaged = network.Restorer(restorer.shape).to(device).to(memory_format=torch.channels_last)
    averaged.load_state_dict(restorer.state_dict())
    # the policy is refinement's to learn
    restorer.policy.requires_grad_(False)
    optimisers = Optimisers(restorer)
    # written whole, but a disk may have lost some of it since
    storage.drop_damaged(sorted(folder.glob("step-*.pt")))
    first, state = 0, last_checkpoint(folder)
    if state:
        restorer.load_state_dict(state["restorer"])
        averaged.load_state_dict(state["averaged"])
        optimisers.load_state_dict(state["optimisers"])
        first = state["step"]
        print(f"restorer: resuming from step {first}", flush=True)
    recent: list[float] = []
    best, done, began = -math.inf, first, time.monotonic()
    for step, batch in enumerate(batches(config, pairs, first), first):
        if step >= config.steps:
            break
        batch = batch.to(device)
        # filters ring far from where their picture ends, so they see the whole of it, as at work
        sharpened = batch.cropped(restorer.sharpen(batch.picture, batch.condition, batch.prints))
        with torch.autocast(device, dtype=torch.bfloat16, enabled=config.bfloat16):
            restored = restorer(
                batch.degraded, batch.condition, batch.embedding, whole=batch.whole, sharpened=sharpened
            )
        loss = loss_of(restored.float(), batch.clean)
        guessed = guess_loss(restorer.guesser(batch.condition, batch.prints), batch.truth)
        restorer.zero_grad(set_to_none=True)
        # nothing flows from one into the other: the kernel is learnt from what is known of it
        (loss + guessed).backward()
        torch.nn.utils.clip_grad_norm_(restorer.parameters(), 1.0)
        optimisers.step(learning_rate(step, config))
        decay = min(config.ema_decay, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, value in zip(averaged.parameters(), restorer.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        recent.append(loss.item())
        done = step + 1
        late = time.monotonic() - began > 60 * minutes
        if done % LOG_EVERY == 0:
            mean_loss = sum(recent) / len(recent)
            run.metrics({"loss": mean_loss, "learning_rate": learning_rate(step, config)}, step=done)
            print(f"restorer step {done}/{config.steps} loss {mean_loss:.5f}", flush=True)
            recent = []
        if done % config.save_every == 0 or done == config.steps or late:
            path = folder / f"step-{done:07d}.pt"
            state = {"step": done, "restorer": restorer.state_dict(), "averaged": averaged.state_dict()}
            network.save_state({**state, "optimisers": optimisers.state_dict()}, path)
            for old in sorted(folder.glob("step-*.pt"))[: -config.keep_checkpoints]:
                old.unlink()
            metrics = validate(averaged, validation, device)
            run.metrics(metrics, step=done)
            run.checkpoint(path, done, metrics, best=metrics["val_psnr"] > best)
            best = max(best, metrics["val_psnr"])
            print(f"restorer step {done}/{config.steps} val_psnr {metrics['val_psnr']:.3f} dB", flush=True)
        if late:
            break
    return averaged.cpu(), done


def main() -> None:
    config = params.load("restorer", RestorerParams)
    inputs = parquet.training_paths("data/clean", "data/pairs", "data/annotations", "data/priors")
    if config.base != "scratch":
        inputs.append(config.base)
    folder = Path("work/restorer") / storage.digest_inputs(config.model_dump(), inputs)
    with (
        storage.only_one(folder),
        tracking.stage_run("train_restorer", config.model_dump(), keep_checkpoints=config.keep_checkpoints) as run,
    ):
        averaged, _ = train(config, folder, run)
        metrics = validate(averaged, load_split("val"))
        with storage.whole_folder(OUT) as part:
            network.save(averaged, part)
        storage.write_json("metrics/train_restorer.json", metrics)
        run.metrics(metrics)


if __name__ == "__main__":
    tracking.telemetry_off()
    try:
        main()
    except (params.ParamsError, tracking.TrackingError, network.RestorerError, OSError) as error:
        sys.exit(f"train_restorer: {error}")
