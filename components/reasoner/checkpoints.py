"""Checkpoints of a training: which are whole, which are kept, and how one crosses to another number of processes.

A checkpoint is `checkpoint-<step>/` as the Trainer writes it. COMPLETE is written last, when every process has
written its part, and holds the number of processes: ZeRO cuts the optimizer's state into that many parts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

COMPLETE = "COMPLETE"
# DeepSpeed's names: which state of a checkpoint counts, and which one fits any number of processes
LATEST, LATEST_UNIVERSAL = "latest", "latest_universal"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be taken up again; the message is one line."""


def step_of(checkpoint: Path) -> int:
    """checkpoint-40 -> 40"""
    return int(checkpoint.name.rpartition("-")[2])


def at_step(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"checkpoint-{step}"


def newest_first(folder: Path) -> list[Path]:
    """All checkpoints of a training, torn ones too."""
    return sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True)


def is_complete(checkpoint: Path) -> bool:
    return (checkpoint / COMPLETE).exists()


def mark_complete(checkpoint: Path, processes: int) -> None:
    """Say that a checkpoint was written to its end by so many processes."""
    part = checkpoint / f".{COMPLETE}"
    part.write_text(json.dumps({"processes": processes}) + "\n", encoding="utf-8")
    os.replace(part, checkpoint / COMPLETE)


def processes_of(checkpoint: Path) -> int:
    """How many processes wrote a complete checkpoint."""
    return int(json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))["processes"])


def last_complete(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None."""
    return next((checkpoint for checkpoint in newest_first(folder) if is_complete(checkpoint)), None)


def drop_torn(folder: Path) -> None:
    """Remove what a killed training left half written. One process only, while no other writes."""
    for checkpoint in newest_first(folder):
        if not is_complete(checkpoint):
            shutil.rmtree(checkpoint)


def prune(folder: Path, keep: int, best: int | None) -> None:
    """Remove all complete checkpoints but the newest `keep` and that of step `best`."""
    complete = [checkpoint for checkpoint in newest_first(folder) if is_complete(checkpoint)]
    for checkpoint in complete[keep:]:
        if step_of(checkpoint) != best:
            # no longer complete before no longer whole: a kill in between must not leave a torn one that counts
            (checkpoint / COMPLETE).unlink()
            shutil.rmtree(checkpoint)


def needs_universal(checkpoint: Path | None, processes: int, zero_stage: int) -> bool:
    """Whether other processes wrote the checkpoint than shall read it; without ZERO nothing is cut."""
    return checkpoint is not None and zero_stage > 0 and processes_of(checkpoint) != processes


def make_universal(checkpoint: Path) -> None:
    """Add DeepSpeed's universal form, which any number of processes reads. Raises CheckpointError.

    One process only. A conversion that was killed is done again: DeepSpeed writes `latest_universal` last.
    """
    if (checkpoint / LATEST_UNIVERSAL).exists():
        return
    tag = (checkpoint / LATEST).read_text(encoding="utf-8").strip()
    target = checkpoint / f"{tag}_universal"
    shutil.rmtree(target, ignore_errors=True)
    print(f"reasoner: converting {checkpoint.name} of {processes_of(checkpoint)} processes", flush=True)
    converter = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    folders = ["--input_folder", str(checkpoint / tag), "--output_folder", str(target)]
    done = subprocess.run([*converter, *folders], capture_output=True, text=True, check=False)
    if done.returncode or not (checkpoint / LATEST_UNIVERSAL).exists():
        reason = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise CheckpointError(
            f"{checkpoint}: cannot be read by another number of processes: {reason}; set reasoner.processes to "
            f"{processes_of(checkpoint)} or remove the folder"
        )
