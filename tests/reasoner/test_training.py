"""Training the reasoner through the command that users run: golden losses, kill -9, resume."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.reasoner.config import ReasonerParams
from components.reasoner.train import launch_argv
from tests.reasoner.runs import MODULE, copy_of, kill_at, losses
from tests.tiny import REPOSITORY, environment, stage, tiny_params, write_params

GOLDEN = REPOSITORY / "tests/reasoner/golden_sft.json"


@pytest.fixture(scope="module")
def undisturbed(workspace) -> tuple[str, bytes]:
    """The printed log and the weights of a training that nobody interrupts."""
    done = stage(workspace, MODULE)
    return done.stdout, (workspace / "models/reasoner/model.safetensors").read_bytes()


def test_the_loss_falls_and_the_reasoner_is_complete(workspace, undisturbed):
    saved = {path.name for path in (workspace / "models/reasoner").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "answer.json", "calibration.json"} <= saved
    assert 0 <= json.loads((workspace / "metrics/train_reasoner.json").read_text())["val_macro_f1"] <= 1


def test_golden_losses(workspace, undisturbed):
    """A change that should not change a loss does not. Whoever changes one on purpose writes the new ones down:

    RNR_WRITE_GOLDEN=1 python -m pytest tests/reasoner/test_training.py -k golden
    """
    logged = losses(workspace)
    if os.environ.get("RNR_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(logged, indent=1) + "\n", encoding="utf-8")
    assert logged == pytest.approx(json.loads(GOLDEN.read_text(encoding="utf-8")), abs=1e-4)
    assert logged["loss 8"] < logged["loss 2"] and logged["val_loss 8"] < logged["val_loss 2"]


def test_killed_it_goes_on_from_the_last_checkpoint_to_the_same_bytes(workspace, undisturbed, tmp_path):
    folder = copy_of(workspace, tmp_path / "killed")
    kill_at(folder, 4, tmp_path / "log")
    done = stage(folder, MODULE)
    resumed = re.search(r"resuming from checkpoint-(\d+)", done.stdout)
    assert resumed and int(resumed.group(1)) >= 4
    assert (folder / "models/reasoner/model.safetensors").read_bytes() == undisturbed[1]


def test_a_worker_that_outlives_its_launcher_is_waited_for(workspace, undisturbed, tmp_path):
    folder = copy_of(workspace, tmp_path / "orphan")
    argv = [sys.executable, "-m", MODULE]
    launcher = subprocess.Popen(argv, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 240
    while not list(folder.glob("work/reasoner/*/checkpoint-2/COMPLETE")):
        assert time.monotonic() < deadline
        assert launcher.poll() is None
        time.sleep(0.05)
    os.killpg(launcher.pid, signal.SIGKILL)
    launcher.wait()
    stage(folder, MODULE)
    assert (folder / "models/reasoner/model.safetensors").read_bytes() == undisturbed[1]


def test_a_finished_training_is_not_repeated(workspace, undisturbed):
    shutil.rmtree(workspace / "models/reasoner")
    done = stage(workspace, MODULE)
    assert "reasoner step" not in done.stdout
    assert (workspace / "models/reasoner/model.safetensors").read_bytes() == undisturbed[1]


def test_a_bad_base_ends_the_stage_with_one_line(workspace, tmp_path):
    folder = copy_of(workspace, tmp_path / "bad")
    write_params(folder, reasoner={"base": "scratch:enormous"})
    done = stage(folder, MODULE, check=False)
    assert done.returncode != 0
    assert "scratch:enormous is unknown; allowed" in done.stderr
    assert not (folder / "models/reasoner").exists()


def test_one_launcher_for_one_process_many_and_many_machines():
    config = ReasonerParams.model_validate(tiny_params()["reasoner"])
    one = launch_argv(config, Path("work/x"))
    assert one[2:6] == ["torch.distributed.run", "--standalone", "--nproc_per_node", "1"]
    assert one[6:] == ["-m", "components.reasoner.worker", "work/x"]
    assert "2" in launch_argv(config.model_copy(update={"processes": 2}), Path("w"))
    many = launch_argv(config.model_copy(update={"hostfile": "hosts"}), Path("w"))
    assert many[many.index("--hostfile") + 1] == "hosts"
