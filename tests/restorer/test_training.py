"""Training the restorer through the commands that users run: golden losses, sittings, a base to go on from."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import REPOSITORY, environment, stage, with_priors, write_params

GOLDEN = REPOSITORY / "tests/restorer/golden_training.json"
MODULE = "components.restorer.train"
TRAINING = {"steps": 20, "save_every": 10}


@pytest.fixture(scope="module")
def readied(workspace, tmp_path_factory) -> Path:
    """A workspace with what the pretrained reasoner says of its pairs."""
    return with_priors(workspace, tmp_path_factory.mktemp("restorer") / "workspace", restorer=TRAINING)


@pytest.fixture(scope="module")
def undisturbed(readied) -> tuple[str, bytes]:
    """The printed log and the weights of a training in one go."""
    done = stage(readied, MODULE)
    return done.stdout, (readied / "models/restorer/model.safetensors").read_bytes()


def test_golden_losses(undisturbed):
    """A change that should not change a loss does not. Whoever changes one on purpose writes the new ones down:

    RNR_WRITE_GOLDEN=1 python -m pytest tests/restorer/test_training.py -k golden
    """
    told = re.findall(r"step (\d+)/20 (loss|val_psnr) (-?[0-9.]+)", undisturbed[0])
    logged = {f"{name} {step}": float(value) for step, name, value in told}
    if os.environ.get("RNR_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(logged, indent=1) + "\n", encoding="utf-8")
    assert logged == pytest.approx(json.loads(GOLDEN.read_text(encoding="utf-8")), abs=2e-3)


def test_sittings_end_in_the_same_bytes(readied, undisturbed, tmp_path):
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "components.restorer.pretrain", "--out", str(out), "--device", "cpu"]
    for minutes, end in (("0", 1), ("0", 2), ("1e9", 20)):
        done = subprocess.run(
            [*argv, "--minutes", minutes], cwd=readied, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert json.loads(done.stdout.splitlines()[-1])["step"] == end
    assert (out / "final/model.safetensors").read_bytes() == undisturbed[1]


def test_a_base_is_where_it_begins(readied, undisturbed, tmp_path):
    shutil.copytree(readied / "models/restorer", tmp_path / "base")
    write_params(readied, restorer={**TRAINING, "base": str(tmp_path / "base"), "steps": 1, "learning_rate": 1e-9})
    stage(readied, MODULE)
    from components.restorer import network

    before, after = (network.load(folder) for folder in (tmp_path / "base", readied / "models/restorer"))
    for a, b in zip(before.parameters(), after.parameters(), strict=True):
        assert (a - b).abs().max() < 1e-6

    write_params(readied, restorer={**TRAINING, "base": str(tmp_path / "base"), "widths": [16, 16, 32]})
    done = stage(readied, MODULE, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("train_restorer: restorer.base: ")
    write_params(readied, restorer={**TRAINING, "base": "nowhere"})
    done = stage(readied, MODULE, check=False)
    assert done.returncode == 1
    assert "nowhere: not a restorer" in done.stderr.splitlines()[-1]


def test_a_narrow_one_is_a_base_too(readied, undisturbed, tmp_path):
    write_params(readied, restorer=TRAINING)
    base, narrow = tmp_path / "base", tmp_path / "narrow"
    shutil.copytree(readied / "models/restorer", base)
    argv = [sys.executable, "-m", "components.restorer.narrow", "--base", str(base), "--out", str(narrow)]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*argv, *more], cwd=readied, env=environment(), capture_output=True, text=True, check=False
        )

    done = run("--widths", "8", "12", "12", "--batches", "3")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((narrow / "config.json").read_text(encoding="utf-8"))["widths"] == [8, 12, 12]
    write_params(readied, restorer={**TRAINING, "base": str(narrow), "widths": [8, 12, 12], "steps": 1})
    stage(readied, MODULE)

    done = run("--widths", "8", "12", "24")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("narrow: --widths [8, 12, 24]: ")


def test_what_a_diagnosis_is_worth_is_told(readied, undisturbed):
    argv = [sys.executable, "-m", "benchmarks.told", "--restorer", "models/restorer"]
    done = subprocess.run(argv, cwd=readied, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert {"reasoner", "truth", "nothing"} <= set(rows)
    assert "clean" in done.stdout.splitlines()[0]
    # under the truth a clean picture is left as it is
    assert float(rows["truth"][done.stdout.splitlines()[0].split().index("clean")]) == 0
