"""Training on a bare machine, in sittings: the command, its end, and that sittings leave no trace."""

from __future__ import annotations

import subprocess
import sys

from components.reasoner.reader import Reasoner
from tests.reasoner.runs import copy_of
from tests.tiny import REPOSITORY, environment, write_params

MODULE = "components.reasoner.pretrain"


def sitting(folder, *arguments: str) -> str:
    argv = [sys.executable, "-m", MODULE, "--out", "work/pretrain", *arguments]
    done = subprocess.run(argv, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_sittings_end_in_the_bytes_of_one(workspace, tmp_path):
    whole, parts = (copy_of(workspace, tmp_path / name) for name in ("whole", "parts"))
    sitting(whole)
    sitting(parts, "--most-steps", "3")
    assert not (parts / "work/pretrain/final").exists()
    assert "resuming from step 3" in sitting(parts, "--workers", "0")
    weights = [folder / "work/pretrain/final/model.safetensors" for folder in (whole, parts)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert Reasoner(whole / "work/pretrain/final").thresholds.min() >= 0.5


def test_lora_is_refused_in_one_line(workspace, tmp_path):
    folder = copy_of(workspace, tmp_path / "lora")
    write_params(folder, reasoner={"tuning": "lora", "base": "somewhere"})
    argv = [sys.executable, "-m", MODULE]
    done = subprocess.run(argv, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("pretrain: reasoner.tuning: ")


def test_it_needs_nothing_that_a_bare_machine_lacks():
    heavy = ("mlflow", "deepspeed", "prefect", "dvc", "peft", "pyiqa", "openai", "sklearn")
    code = f"import sys, components.reasoner.pretrain; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "[]"
