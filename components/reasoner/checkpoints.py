"""Checkpoints of a training: which are whole, which are kept, and how one crosses to another number of processes.

A checkpoint is `checkpoint-<step>/` as the Trainer writes it. COMPLETE is written last, when every process has
written its part, and holds the number of processes (ZeRO cuts the optimizer's state into that many parts) and the
digest of each file: a disk that lost a part of them must not end a training for good.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from components import storage

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


def damage(checkpoint: Path) -> str:
    """What is wrong with a complete checkpoint, or an empty string; every byte of it is read."""
    try:
        said = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))
        int(said["processes"])
    except (ValueError, KeyError, TypeError):
        return f"{COMPLETE} cannot be read"
    # older checkpoints have no digests
    expected, found = said.get("files", {}), storage.digests_of(checkpoint)
    return next((f"{name} is not as written" for name in expected if found.get(name) != expected[name]), "")


def best_of(checkpoint: Path) -> int | None:
    """The step of the best checkpoint when this one was written, or None."""
    try:
        return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8")).get("best_global_step")
    except (OSError, ValueError):
        return None


def mark_complete(checkpoint: Path, processes: int) -> None:
    """Say that a checkpoint was written to its end by so many processes."""
    part = checkpoint / f".{COMPLETE}"
    facts = {"processes": processes, "files": storage.digests_of(checkpoint)}
    part.write_text(json.dumps(facts, sort_keys=True) + "\n", encoding="utf-8")
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


def drop_damaged(folder: Path) -> None:
    """Remove the complete checkpoints that cannot be taken up, a line for each. One process only, as `drop_torn`.

    A training ends with its best checkpoint: one that has lost the best of its past cannot come to the same end.
    """
    for checkpoint in reversed(newest_first(folder)):
        reason = damage(checkpoint)
        best = best_of(checkpoint)
        if not reason and best and not at_step(folder, best).exists():
            reason = f"step {best}, the best one until then, is gone"
        if reason:
            print(f"{checkpoint}: this checkpoint is damaged and removed ({reason})", flush=True)
            (checkpoint / COMPLETE).unlink()
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
