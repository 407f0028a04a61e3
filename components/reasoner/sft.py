"""Supervised fine-tuning of the reasoner under DeepSpeed; one process of the launch that `train` makes.

    torchrun --standalone --nproc_per_node 1 -m components.reasoner.sft work/reasoner/<inputs>

Writes checkpoints to the given folder and the trained reasoner to its `final/`; killed, it goes on from the last
checkpoint. Loss counts the answer's values alone: the structure is given when answers are read.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

import torch
from torch.nn import functional as F
from transformers import Trainer, TrainerCallback, TrainingArguments

from components import params, storage, tracking
from components.reasoner import data, pictures
from components.reasoner import model as models
from components.reasoner.answer import FINDINGS
from components.reasoner.calibrate import calibrate
from components.reasoner.config import ReasonerParams
from components.reasoner.reader import CALIBRATION_FILE, Reasoner

# findings are what restorer and reward rely on; the rest supports them
SLOT_WEIGHTS = {True: 3.0, False: 1.0}
COMPLETE = "COMPLETE"
LOG_EVERY = 10
METRICS = "metrics.json"
# what decides about the thresholds: when it changes, the last checkpoint is calibrated again, not trained again
CALIBRATED_BY = ("calibrate.py", "reader.py", "pictures.py", "answer.py")


def deepspeed_config(config: ReasonerParams) -> dict:
    """ZeRO at the configured stage; batch sizes, clipping and precision follow the Trainer."""
    return {
        "zero_optimization": {"stage": config.zero_stage},
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "zero_allow_untested_optimizer": True,
    }


class AnswerTrainer(Trainer):
    """A Trainer whose loss is the weighted cross-entropy of the answer's slots, samples in their own order."""

    def __init__(self, *args, layout, sight, positions, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.layout, self.sight, self.positions = layout, sight, positions
        self.weights = torch.tensor([SLOT_WEIGHTS[slot.block == FINDINGS] for slot in layout.slots])

    def _get_train_sampler(self, *args):
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        ids, chosen = inputs["input_ids"], inputs["chosen"]
        count = len(ids)
        patches = pictures.look(inputs["thumbnail"], inputs["crop"])
        output = model(
            input_ids=ids,
            pixel_values=patches.flatten(0, 1),
            image_grid_thw=torch.tensor(self.sight.grid, device=ids.device).repeat(count, 1),
            position_ids=self.positions.expand(3, count, -1).to(ids.device),
            logits_to_keep=self.layout.positions.to(ids.device) - 1,
        )
        loss = self.answer_loss(output.logits.float(), chosen)
        return (loss, output) if return_outputs else loss

    def answer_loss(self, logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Weighted mean over the asked slots of -log p(true token); logits (B, S, vocabulary), chosen (B, S)."""
        targets = torch.stack(
            [self.layout.options[s].to(chosen.device)[chosen[:, s].clamp(min=0)] for s in range(chosen.shape[1])], 1
        )
        losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        weights = (chosen >= 0) * self.weights.to(chosen.device)
        return (losses * weights).sum() / weights.sum()


class Journal(TrainerCallback):
    """Metrics by step to MLflow; checkpoints marked complete, logged, and old ones dropped."""

    def __init__(self, run, folder: Path) -> None:
        self.run, self.folder = run, folder

    def on_log(self, args, state, control, logs=None, **kwargs):
        values = {k: float(v) for k, v in (logs or {}).items() if k in ("loss", "grad_norm", "learning_rate")}
        if state.is_world_process_zero and values:
            self.run.metrics(values, step=state.global_step)
            print(
                f"reasoner step {state.global_step}/{state.max_steps} loss {values.get('loss', float('nan')):.4f}",
                flush=True,
            )

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            checkpoint = self.folder / f"checkpoint-{state.global_step}"
            (checkpoint / COMPLETE).touch()
            losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
            metrics = {"loss": losses[-1]} if losses else {}
            best = bool(losses) and losses[-1] <= min(losses)
            self.run.checkpoint(checkpoint, state.global_step, metrics, best=best)


def last_complete(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; the torn ones after it are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]), reverse=True)
    for checkpoint in found:
        if (checkpoint / COMPLETE).exists():
            return str(checkpoint)
        shutil.rmtree(checkpoint)
    return None


def final(folder: Path) -> Path:
    """Where the trained and calibrated reasoner of a work folder lies."""
    code = [str(Path(__file__).with_name(name)) for name in CALIBRATED_BY]
    return folder / f"final-{storage.digest_inputs({}, code)}"


def finish(folder: Path, model, tokenizer, sight, run) -> None:
    """Save the reasoner, calibrate it on validation photos, and only then give it its final name."""
    part = folder / "final.part"
    shutil.rmtree(part, ignore_errors=True)
    models.save(part, model, tokenizer, sight)
    images, diagnoses = data.load_split("val")
    cleans = [storage.decode_image(d) for d in storage.read_shards("data/pairs", "val", ["clean"])["clean"]]
    calibration, scores = calibrate(Reasoner(part), images, diagnoses, cleans)
    storage.write_json(part / CALIBRATION_FILE, calibration)
    storage.write_json(folder / METRICS, {**scores, "clean_gate": calibration["clean_gate"]})
    run.metrics(scores)
    part.rename(final(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description="One process of the reasoner's training")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if os.environ.get("RANK", "0") != "0":
        train(folder)
        return
    # torchrun's workers outlive a killed launcher: whoever comes next waits for them here
    with storage.only_one(folder / "worker"):
        if not final(folder).exists():
            train(folder)


def train(folder: Path) -> None:
    """Train from the last complete checkpoint in `folder` to its `final/`."""
    config = params.load("reasoner", ReasonerParams)
    images, diagnoses = data.load_split("train")
    objects = data.object_vocabulary(diagnoses, config.object_vocabulary)
    model, tokenizer, sight = models.build(config, objects)
    layout = sight.layout(tokenizer)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=config.steps,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(config.warmup_share * config.steps),
        weight_decay=0.01,
        max_grad_norm=1.0,
        logging_steps=LOG_EVERY,
        save_steps=config.save_every,
        save_total_limit=config.keep_checkpoints,
        seed=config.seed,
        data_seed=config.seed,
        bf16=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        deepspeed=deepspeed_config(config),
        report_to="none",
        remove_unused_columns=False,
        dataloader_num_workers=0,
        disable_tqdm=True,
        ignore_data_skip=False,
    )
    total = config.steps * config.batch_size * config.gradient_accumulation * max(1, arguments.world_size)
    samples = data.Samples(images, diagnoses, layout, sight, total, config.seed)
    with tracking.stage_run("train_reasoner", config.model_dump(), keep_checkpoints=config.keep_checkpoints) as run:
        trainer = AnswerTrainer(
            model=model,
            args=arguments,
            train_dataset=samples,
            callbacks=[Journal(run, folder)],
            layout=layout,
            sight=sight,
            positions=models.position_ids(model, layout, sight.grid),
        )
        checkpoint = last_complete(folder)
        if checkpoint:
            print(f"reasoner: resuming from {Path(checkpoint).name}", flush=True)
        trainer.train(resume_from_checkpoint=checkpoint)
        if trainer.is_world_process_zero():
            finish(folder, trainer.accelerator.unwrap_model(trainer.model), tokenizer, sight, run)


if __name__ == "__main__":
    main()
