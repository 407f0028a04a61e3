"""The whole system through its own commands, tiny: run, skip, change, kill, refuse, roll back, restore.

One clone of the working tree goes through the life of a pipeline; the tests follow one another.
"""

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
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from components.diagnosis import TYPES
from tests.tiny import REPOSITORY, environment, processes, write_params

BIN = Path(sys.executable).parent
STAGES = [
    "ingest",
    "synthesize",
    "annotate",
    "train_reasoner",
    "diagnose",
    "train_restorer",
    "refine",
    "evaluate",
    "report",
]
# a model of seconds reaches no floor: only losses against the champion count, and any loss of the first change is fine
OPEN_GATE = {
    "min_psnr_gain_db": -100.0,
    "min_types_improved": 0,
    "min_macro_f1": 0.0,
    "max_psnr_loss_db": 100.0,
    "max_f1_loss": 1.0,
    "clean_psnr_floor_db": 0.0,
}


def clone(target: Path) -> Path:
    """The tracked and new files of the working tree as a repository of their own, with tiny parameters."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in files:
        if (REPOSITORY / name).is_file() and name != "dvc.lock" and not name.startswith(("tests/", "docs/")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, target / name)
    write_params(target, promotion=OPEN_GATE)
    for argv in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "tiny"]):
        author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *author, *argv], cwd=target, check=True)
    return target


def command_environment(folder: Path, log_level: str = "WARNING") -> dict[str, str]:
    scratch = {"PREFECT_HOME": str(folder / "work/prefect"), "PREFECT_LOGGING_LEVEL": log_level}
    return {**environment(), "PYTHONPATH": str(folder), **scratch}


def rnr(folder: Path, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `rnr ...` in a folder and check its exit code."""
    done = subprocess.run(
        [str(BIN / "rnr"), *arguments],
        cwd=folder,
        env=command_environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


def executed(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [stage["name"] for stage in json.loads(done.stdout)["stages"] if stage["outcome"] == "executed"]


def dvc(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [str(BIN / "dvc"), *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=True
    )
    return done.stdout


def change(folder: Path, section: str, **values: object) -> None:
    path = folder / "params.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content[section] |= values
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def champion(folder: Path) -> str:
    rows = json.loads(rnr(folder, "models", "--json").stdout)
    return next(str(row["version"]) for row in rows if "champion" in row["aliases"])


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> Path:
    """A clone after its first `rnr run`."""
    folder = clone(tmp_path_factory.mktemp("clone"))
    done = rnr(folder, "run", "--json")
    assert executed(done) == STAGES
    assert json.loads(done.stdout)["verdict"]["action"] == "promoted"
    return folder


def test_the_report_has_the_stable_keys(pipeline):
    report = json.loads((pipeline / "reports/metrics.json").read_text(encoding="utf-8"))
    assert set(report) >= {"restoration", "reasoner", "refinement"}
    assert set(report["restoration"]) == {
        "haze", "rain", "snow", "low_light", "blur", "noise", "jpeg", "mixture2", "mixture3", "clean", "all"
    }  # fmt: skip
    assert report["reasoner"]["parse_rate"] == 1
    counts = {case: scores["n"] for case, scores in report["restoration"].items()}
    assert counts["all"] == sum(counts.values()) - counts["all"] - counts["clean"] == 33 - counts["clean"]


def test_a_second_run_executes_nothing_and_dvc_agrees(pipeline):
    began = time.monotonic()
    assert executed(rnr(pipeline, "run", "--json")) == []
    assert time.monotonic() - began < 90
    assert "up to date" in dvc(pipeline, "repro")
    assert "up to date" in dvc(pipeline, "status")


def test_another_clone_gives_the_same_bytes(pipeline, tmp_path):
    twin = clone(tmp_path / "twin")
    dvc(twin, "repro")
    first, second = (yaml.safe_load((top / "dvc.lock").read_text(encoding="utf-8")) for top in (pipeline, twin))
    assert first == second


def test_photos_are_restored_by_the_champion(pipeline, tmp_path):
    photos = sorted((pipeline / "data/photos").glob("*.jpg"))[:2]
    done = rnr(pipeline, "restore", *map(str, photos), "-o", str(tmp_path / "out"), "--edit", "noise=40", "--json")
    assert done.returncode == 0
    for photo in photos:
        with Image.open(photo) as before, Image.open(tmp_path / "out" / photo.name) as after:
            assert before.size == after.size
        said = json.loads((tmp_path / "out" / f"{photo.name}.diagnosis.json").read_text(encoding="utf-8"))
        assert said["before"]["findings"]["noise"]["severity"] == 40
    lines = rnr(pipeline, "diagnose", str(photos[0]), "--json").stdout.splitlines()
    assert json.loads(lines[0])["reasoning"]


def test_a_killed_restorer_goes_on_and_only_what_follows_runs_again(pipeline):
    change(pipeline, "restorer", learning_rate=0.002, steps=400, save_every=5)
    log = pipeline / "work/killed.log"
    known = set((pipeline / "work/restorer").glob("*"))
    argv = [str(BIN / "rnr"), "run"]
    with open(log, "w", encoding="utf-8") as out:
        loud = command_environment(pipeline, "INFO")
        run = subprocess.Popen(argv, cwd=pipeline, env=loud, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 240
        while not [f for top in set((pipeline / "work/restorer").glob("*")) - known for f in top.glob("step-*.pt")]:
            assert time.monotonic() < deadline and run.poll() is None, log.read_text(encoding="utf-8")[-3000:]
            time.sleep(0.02)
        killed = processes(pipeline, "components.restorer.train")
        for process in killed:
            os.kill(process, signal.SIGKILL)
    finally:
        code = run.wait(timeout=400)
    said = log.read_text(encoding="utf-8")
    assert killed
    # the flow's own retry picks the training up again
    assert code == 0, said[-3000:]
    assert re.search(r"restorer: resuming from step [1-9]", said)
    outcomes = dict(re.findall(r"^(\w+) +(executed|skipped) ", said, re.MULTILINE))
    assert [stage for stage in STAGES if outcomes[stage] == "executed"] == [
        "train_restorer",
        "refine",
        "evaluate",
        "report",
    ]
    assert champion(pipeline) == "2"


def test_a_worse_model_is_refused_with_reasons_and_the_champion_stays(pipeline):
    change(pipeline, "promotion", max_psnr_loss_db=0.2)
    weights = pipeline / "models/restorer-refined/model.safetensors"
    content = load_file(weights)
    torch.manual_seed(0)
    noisy = {name: value + 0.1 * torch.randn_like(value) for name, value in content.items()}
    weights.unlink()
    save_file(noisy, weights)
    # and a reasoner that finds everything everywhere, so that the restorer acts
    calibration = pipeline / "models/reasoner/calibration.json"
    calibration.unlink()
    calibration.write_text(json.dumps({"threshold": dict.fromkeys(TYPES, 0.0)}), encoding="utf-8")
    for module in ("components.evaluation.evaluate", "components.promotion.register"):
        subprocess.run(
            [sys.executable, "-m", module],
            cwd=pipeline,
            env=command_environment(pipeline),
            check=True,
            capture_output=True,
        )
    refused = json.loads(rnr(pipeline, "promote", "--json", expect=1).stdout)
    assert refused["action"] == "refused"
    assert any("against the champion's" in reason and "dB" in reason for reason in refused["reasons"])
    assert champion(pipeline) == "2"


def test_rollback_restores_the_earlier_champion(pipeline):
    rnr(pipeline, "rollback")
    assert champion(pipeline) == "1"
    audit = (pipeline / "audit/promotions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(audit) >= 4
