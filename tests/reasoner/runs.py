"""Trainings of the reasoner in tiny workspaces: started, killed at a checkpoint, and what they logged."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from tests.tiny import empty_store, environment, processes

MODULE = "components.reasoner.train"
DEADLINE_S = 600  # on a machine that has other work


def copy_of(workspace: Path, target: Path, *, checkpoints: bool = False) -> Path:
    """A workspace with the same data; without what was trained there, or with its checkpoints but nothing finished."""
    left_out = ["models", "mlflow.db", "final-*"] if checkpoints else ["work", "models", "mlflow.db"]
    shutil.copytree(workspace, target, symlinks=True, ignore=shutil.ignore_patterns(*left_out))
    shutil.copy(empty_store(), target / "mlflow.db")
    return target


def checkpoint(folder: Path, step: int) -> Path:
    """The checkpoint of a step of the one training of a workspace, there or not."""
    found = [path for path in folder.glob("work/reasoner/*") if path.is_dir()]
    return (found[0] if found else folder) / f"checkpoint-{step}"


def kill_at(folder: Path, step: int, log: Path) -> None:
    """Start a training and kill all of it, as a machine that dies does, when a checkpoint is complete."""
    argv = [sys.executable, "-m", MODULE]
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            argv, cwd=folder, env=environment(), stdout=file, stderr=file, start_new_session=True
        )
    deadline = time.monotonic() + DEADLINE_S
    while not (checkpoint(folder, step) / "COMPLETE").exists():
        assert time.monotonic() < deadline and process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.05)
    # torchrun's workers are no members of the launcher's group
    for number in [process.pid, *processes(folder, "components.reasoner")]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    process.wait()


def losses(folder: Path, step: int = 8) -> dict[str, float]:
    """{"loss 2": ..., "val_loss 2": ...}: what a training had logged when it wrote the checkpoint of a step."""
    state = json.loads((checkpoint(folder, step) / "trainer_state.json").read_text(encoding="utf-8"))
    names = {"loss": "loss", "eval_loss": "val_loss"}
    return {
        f"{name} {entry['step']}": entry[key]
        for entry in state["log_history"]
        for key, name in names.items()
        if key in entry
    }


def tracked(folder: Path) -> tuple[set[int], list[int]]:
    """The steps with a validation loss in a workspace's MLflow, and the steps of the models marked best there."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as store:
        judged = store.execute("SELECT step FROM metrics WHERE key = 'val_loss'").fetchall()
        best = store.execute(
            "SELECT step.tag_value FROM logged_model_tags AS step JOIN logged_model_tags AS best USING (model_id)"
            " WHERE step.tag_key = 'step' AND best.tag_key = 'best' AND best.tag_value = 'true'"
        ).fetchall()
    return {step for (step,) in judged}, [int(step) for (step,) in best]
