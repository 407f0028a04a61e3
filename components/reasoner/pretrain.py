"""Train the reasoner on a bare machine: plain PyTorch on a processor or a GPU, in as many sittings as it takes.

    python -m components.reasoner.pretrain --minutes 60 [--out work/pretrain/reasoner]

Needs torch, transformers, numpy, pandas, pyarrow, Pillow, pydantic and PyYAML alone, data/clean, data/pairs and
data/annotations. Samples, loss and parameters are those of the stage `train_reasoner`; no DeepSpeed, no MLflow. Each
sitting goes on where the last one stopped; `OUT/final` holds the reasoner when the last step is done, or what there
is with --finish.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from components import params, storage
from components.muon import Muon
from components.reasoner import data, speed
from components.reasoner import model as models
from components.reasoner.calibrate import Validation, calibrate
from components.reasoner.config import ReasonerParams
from components.reasoner.loss import AnswerLoss
from components.reasoner.reader import CALIBRATION_FILE, Reasoner

SAVE_EVERY_S, LOG_EVERY = 300, 50
STATE = "state.pt"


def learning_rate(config: ReasonerParams, step: int) -> float:
    """Linear warm-up, then a cosine to nothing at the last step."""
    warmup = max(1, int(config.warmup_share * config.steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, config.steps - warmup)))


@dataclass(frozen=True)
class Sitting:
    """How long one sitting may be, in minutes and steps, on which device, with how many processes drawing pictures."""

    minutes: float
    most_steps: int
    device: str
    workers: int


def train(config: ReasonerParams, folder: Path, sitting: Sitting) -> bool:
    """One sitting; returns whether the last step is done. The state is left in `folder`, and the reasoner in `last`."""
    images, diagnoses = data.load_split("train")
    model, tokenizer, sight = models.build(config, data.object_vocabulary(diagnoses, config.object_vocabulary))
    layout = sight.layout(tokenizer)
    size = config.batch_size * config.gradient_accumulation
    samples = data.training_samples(images, diagnoses, config, layout, sight, config.steps * size)
    objective = AnswerLoss(layout, sight, models.position_ids(model, layout, sight.grid))
    model.to(sitting.device).train()
    optimisers = build_optimisers(model, config.learning_rate)
    if sitting.device == "cpu":
        speed.quicken(model)
    step = _resume(folder, model, optimisers)
    # a process of its own makes the pictures: they take as long as the step, and many small operations on one core
    order = [list(range(start * size, (start + 1) * size)) for start in range(step, config.steps)]
    batches = iter(torch.utils.data.DataLoader(samples, batch_sampler=order, num_workers=sitting.workers))
    began = saved = logged = time.monotonic()
    losses: list[float] = []
    end = min(config.steps, step + sitting.most_steps)
    while step < end and time.monotonic() - began < 60 * sitting.minutes:
        for group in [group for optimiser in optimisers for group in optimiser.param_groups]:
            group["lr"] = learning_rate(config, step)
        batch = {name: field.to(sitting.device) for name, field in next(batches).items()}
        with torch.autocast(sitting.device, dtype=torch.bfloat16, enabled=sitting.device == "cuda"):
            total, weight = objective.parts(objective.answers(model, batch), batch["chosen"])
            loss = total / weight
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        losses.append(float(loss.detach()))
        step += 1
        if step % LOG_EVERY == 0:
            pace, logged = LOG_EVERY / (time.monotonic() - logged), time.monotonic()
            mean = sum(losses[-LOG_EVERY:]) / len(losses[-LOG_EVERY:])
            print(f"step {step}/{config.steps} loss {mean:.4f}, {pace * size:.1f} samples/s", flush=True)
            with open(folder / "losses.jsonl", "a", encoding="utf-8") as log:
                log.write(json.dumps({"step": step, "loss": round(mean, 5)}) + "\n")
        if time.monotonic() - saved > SAVE_EVERY_S:
            _save(folder, model, optimisers, step)
            saved = time.monotonic()
    _save(folder, model, optimisers, step)
    part = folder / "last"
    shutil.rmtree(part, ignore_errors=True)
    models.save(part, model.cpu(), tokenizer, sight)
    return step >= config.steps


def build_optimisers(model, rate: float) -> list[torch.optim.Optimizer]:
    """Muon (Jordan 2024) for the matrices, AdamW for embeddings, norms and biases.

    From nothing Muon learns several times as much from a picture as AdamW alone (docs/experiments.md).
    """
    matrices: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, weight in model.named_parameters():
        (matrices if weight.ndim == 2 and "embed" not in name and "lm_head" not in name else rest).append(weight)
    return [
        Muon(matrices, lr=rate, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=rate, weight_decay=0.01),
    ]


def _save(folder: Path, model, optimisers, step: int) -> None:
    states = [optimiser.state_dict() for optimiser in optimisers]
    with storage.whole_file(folder / STATE) as part:
        torch.save({"model": model.state_dict(), "optimisers": states, "step": step}, part)


def _resume(folder: Path, model, optimisers) -> int:
    path = folder / STATE
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    print(f"resuming from step {state['step']}", flush=True)
    return int(state["step"])


def finish(folder: Path) -> dict[str, float]:
    """Calibrate what the last sitting left on validation photos, and put it in `folder/final`; its scores."""
    calibration, scores = calibrate(Reasoner(folder / "last"), Validation.load())
    storage.write_json(folder / "last" / CALIBRATION_FILE, calibration)
    shutil.rmtree(folder / "final", ignore_errors=True)
    shutil.copytree(folder / "last", folder / "final")
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the reasoner in plain PyTorch, resumable")
    parser.add_argument("--minutes", type=float, default=1e9, help="length of this sitting")
    parser.add_argument("--most-steps", type=int, default=sys.maxsize, help="steps of this sitting")
    parser.add_argument("--out", type=Path, default=Path("work/pretrain/reasoner"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that make the training pictures")
    parser.add_argument("--finish", action="store_true", help="calibrate what there is, whatever step it has reached")
    args = parser.parse_args()
    config = params.load("reasoner", ReasonerParams)
    if config.tuning != "full":
        raise params.ParamsError("reasoner.tuning: this trains all weights; set it to 'full', or run the stage itself")
    args.out.mkdir(parents=True, exist_ok=True)
    sitting = Sitting(args.minutes, args.most_steps, args.device, args.workers)
    if train(config, args.out, sitting) or args.finish:
        print(json.dumps(finish(args.out)))


if __name__ == "__main__":
    try:
        main()
    except (models.ReasonerError, params.ParamsError, FileNotFoundError) as error:
        sys.exit(f"pretrain: {error}")
