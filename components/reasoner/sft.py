"""Supervised fine-tuning of the reasoner under DeepSpeed; one process of the launch that `train` makes (`worker`).

Writes checkpoints to the given folder and the best of them, calibrated, to its `final-<code>/`; killed, it goes on from
the last checkpoint, with any number of processes. Loss counts the answer's values alone: the structure is given when
answers are read.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from components import params, storage, tracking
from components.reasoner import checkpoints, data, speed, validation
from components.reasoner import model as models
from components.reasoner.calibrate import Validation, calibrate
from components.reasoner.config import ReasonerParams, samples_per_process
from components.reasoner.finished import METRICS, final, is_final
from components.reasoner.loss import AnswerLoss
from components.reasoner.reader import CALIBRATION_FILE, Reasoner

LOG_EVERY = 10


def deepspeed_config(config: ReasonerParams) -> dict:
    """ZeRO at the configured stage; batch sizes, clipping and precision follow the Trainer."""
    return {
        # stage 3 cuts the weights too: they are put together again for each checkpoint's Hugging Face files
        "zero_optimization": {"stage": config.zero_stage, "stage3_gather_16bit_weights_on_model_save": True},
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "zero_allow_untested_optimizer": True,
    }


class AnswerTrainer(Trainer):
    """A Trainer whose loss is the weighted cross-entropy of the answer's slots, samples in their own order."""

    def __init__(self, *args, objective: AnswerLoss, watched: validation.ValidationSamples, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.objective, self.watched = objective, watched

    def _get_train_sampler(self, *args):
        # Batches are dealt out in turn, one to each process: together the processes see consecutive samples, those
        # that one process alone would see in the same step.
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """This process's part of the loss; the mean over the processes is the loss of their samples together."""
        loss, weight = self.objective.parts(self.objective.answers(model, inputs), inputs["chosen"])
        # processes differ in how many slots are asked: each part counts by the weight of all
        return loss / (self.over_processes(weight.clone()) / self.args.world_size)

    def over_processes(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes, in place."""
        if self.args.world_size > 1:
            torch.distributed.all_reduce(value)
        return value

    @torch.no_grad()
    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """The loss of the validation samples, each judged by one process; every process returns the same number."""
        model = self.model_wrapped
        model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        size, rank = self.args.per_device_train_batch_size, self.args.process_index
        for batch in validation.share(self.watched, size, rank, self.args.world_size):
            inputs = self._prepare_inputs(batch)
            with self.compute_loss_context_manager():
                total += torch.stack(self.objective.parts(self.objective.answers(model, inputs), inputs["chosen"]))
        loss, weight = self.over_processes(total).tolist()
        model.train()
        metrics = {"eval_loss": loss / weight}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)  # type: ignore[has-type]
        return metrics


class Journal(TrainerCallback):
    """Metrics by step to MLflow; every checkpoint judged, marked complete and logged, old ones but the best dropped."""

    def __init__(self, run, folder: Path, keep: int) -> None:
        self.run, self.folder, self.keep = run, folder, keep

    def on_train_begin(self, args, state, control, **kwargs):
        # a training that goes on may have its best checkpoint behind it: this run must know it too
        if state.is_world_process_zero and state.best_global_step:
            self.log_checkpoint(state.best_global_step, {"val_loss": state.best_metric}, best=True)

    def on_step_end(self, args, state, control, **kwargs):
        control.should_evaluate = control.should_save
        return control

    def on_log(self, args, state, control, logs=None, **kwargs):
        names = {"loss": "loss", "grad_norm": "grad_norm", "learning_rate": "learning_rate", "eval_loss": "val_loss"}
        values = {names[k]: float(v) for k, v in (logs or {}).items() if k in names}
        if state.is_world_process_zero and values:
            self.run.metrics(values, step=state.global_step)
            told = " ".join(f"{name} {values[name]:.4f}" for name in ("loss", "val_loss") if name in values)
            print(f"reasoner step {state.global_step}/{state.max_steps} {told}", flush=True)

    def on_save(self, args, state, control, **kwargs):
        if args.world_size > 1:  # complete means that every process has written its part
            torch.distributed.barrier()
        if state.is_world_process_zero:
            checkpoints.mark_complete(checkpoints.at_step(self.folder, state.global_step), args.world_size)
            losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
            judged = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
            metrics = {"loss": losses[-1]} if losses else {}
            best = state.best_global_step == state.global_step
            self.log_checkpoint(state.global_step, metrics | {"val_loss": judged[-1]}, best)
            checkpoints.prune(self.folder, self.keep, state.best_global_step)

    def log_checkpoint(self, step: int, metrics: dict[str, float], best: bool) -> None:
        self.run.checkpoint(checkpoints.at_step(self.folder, step), step, metrics, best=best)


def finish(folder: Path, model, tokenizer, sight, run) -> None:
    """Save the reasoner, calibrate it on validation photos, and only then give it its final name."""
    part = folder / "final.part"
    shutil.rmtree(part, ignore_errors=True)
    models.save(part, model, tokenizer, sight)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    calibration, scores = calibrate(Reasoner(part, device), Validation.load())
    storage.write_json(part / CALIBRATION_FILE, calibration)
    storage.write_json(folder / METRICS, scores)
    run.metrics(scores)
    checkpoints.mark_complete(part, 1)
    shutil.rmtree(final(folder), ignore_errors=True)
    part.rename(final(folder))


def main(folder: Path) -> None:
    """Train in `folder` as the process that RANK and WORLD_SIZE say; what stops it is one line."""
    try:
        take_part(folder)
    except (models.ReasonerError, params.ParamsError, checkpoints.CheckpointError, OSError) as error:
        sys.exit(f"train_reasoner: {error}")


def take_part(folder: Path) -> None:
    """One process of a training that a launcher started (RANK and WORLD_SIZE as torchrun sets them) in a work folder.

    The first of them clears what a crash left, resumes from the last whole checkpoint and leaves the result.
    """
    config = params.load("reasoner", ReasonerParams)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if os.environ.get("RANK", "0") != "0":
        train(folder, config, processes)
        return
    # torchrun's workers outlive a killed launcher: whoever comes next waits for them here
    with storage.only_one(folder / "worker"):
        # the other processes wait for this one inside `train`, and see the folder as it is left here
        checkpoints.drop_torn(folder)
        checkpoints.drop_damaged(folder)
        checkpoint = checkpoints.last_complete(folder)
        if checkpoint and checkpoints.needs_universal(checkpoint, processes, config.zero_stage):
            checkpoints.make_universal(checkpoint)
        train(folder, config, processes)


def train(folder: Path, config: ReasonerParams, processes: int) -> None:
    """Train from the last complete checkpoint in `folder` to its `final-<code>/`, as one of several processes."""
    bf16 = models.precision() == torch.bfloat16
    deepspeed = deepspeed_config(config)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=config.steps,
        per_device_train_batch_size=samples_per_process(config, processes),
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(config.warmup_share * config.steps),
        weight_decay=0.01,
        max_grad_norm=1.0,
        logging_steps=min(LOG_EVERY, config.save_every),
        save_steps=config.save_every,
        metric_for_best_model="loss",
        greater_is_better=False,
        seed=config.seed,
        data_seed=config.seed,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        deepspeed=deepspeed,
        report_to="none",
        remove_unused_columns=False,
        dataloader_num_workers=0,
        disable_tqdm=True,
        ignore_data_skip=False,
    )
    # Reading the device joins the processes: from here on all of them see the folder as the first has left it.
    print_once = print if arguments.process_index == 0 else lambda *_, **__: None
    if is_final(folder):  # by a training that outlived its launcher
        return
    checkpoint = checkpoints.last_complete(folder)
    if checkpoints.needs_universal(checkpoint, processes, config.zero_stage):
        arguments.hf_deepspeed_config.config["checkpoint"] = {"load_universal": True}
    images, diagnoses = data.load_split("train")
    objects = data.object_vocabulary(diagnoses, config.object_vocabulary)
    model, tokenizer, sight = models.build(config, objects)
    unsaid = [name for name in objects if name not in sight.objects]
    if unsaid:
        print_once(f"reasoner: {config.base} has no words of its own for {', '.join(unsaid)}", flush=True)
    if not torch.cuda.is_available():
        speed.quicken(model)
    layout = sight.layout(tokenizer)
    total = config.steps * config.batch_size * config.gradient_accumulation
    samples = data.training_samples(images, diagnoses, config, layout, sight, total)
    val_images, val_diagnoses = data.load_split("val")
    watched = validation.ValidationSamples(val_images, val_diagnoses, layout, sight, config.seed)
    with tracking.stage_run("train_reasoner", config.model_dump(), keep_checkpoints=config.keep_checkpoints) as run:
        trainer = AnswerTrainer(
            model=model,
            args=arguments,
            train_dataset=samples,
            callbacks=[Journal(run, folder, config.keep_checkpoints)],
            objective=AnswerLoss(layout, sight, models.position_ids(model, layout, sight.grid)),
            watched=watched,
        )
        if checkpoint:
            print_once(f"reasoner: resuming from {checkpoint.name}", flush=True)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if trainer.is_world_process_zero():
            best = trainer.state.best_global_step
            if not best:
                raise models.ReasonerError("no checkpoint has a finite loss; lower reasoner.learning_rate")
            print(f"reasoner: the best checkpoint is that of step {best}", flush=True)
            # one process loads it alone: the weights must not be cut among all
            unset_hf_deepspeed_config()
            model = models.from_checkpoint(checkpoints.at_step(folder, best), config)
            finish(folder, model, tokenizer, sight, run)
