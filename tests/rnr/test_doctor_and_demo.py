"""`rnr doctor`, `rnr run`'s summary and the demo's report, with the flow and the models replaced at their borders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rnr
from components import storage
from components.promotion.gate import Verdict
from components.storage import parquet
from flows import dvc_graph, preflight, retrain
from flows.stage import StageResult
from rnr import demo, doctor
from tests.rnr.conftest import BRIGHTER, FakeModels, run
from tests.tiny import REPOSITORY

SUMMARY = retrain.Summary(
    stages=(StageResult("ingest", "skipped", 0.1, "r1"), StageResult("evaluate", "executed", 12.25, "r2")),
    version="4",
    created=True,
    verdict=Verdict(False, ("haze: PSNR 20.10 dB, champion 21.00 dB",), {}, "4", "3", "refused"),
    run_id="r0",
    seconds=12.5,
)
CASES = ("haze", "low_light", "mixture2", "clean")


def scores(value: float) -> dict[str, float]:
    return {"n": 5, "psnr_degraded": 18, "psnr_restored": 18 + value, "ssim_degraded": 0.5, "ssim_restored": 0.75}


@pytest.fixture
def pipeline(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run: pairs and metrics are there, the flow answers with SUMMARY."""
    grey = np.full((32, 32, 3), 100, np.uint8)
    rows = []
    for index, case in enumerate(CASES * 2):
        pictures = {"degraded": grey + np.uint8(index), "clean": grey}
        rows.append(
            {"pair_id": f"test-{index:06d}", "case": case} | {k: storage.encode_png(v) for k, v in pictures.items()}
        )
    # the order of the rows must not decide which are shown
    parquet.write("data/pairs", "test", 0, pd.DataFrame(rows[::-1]))
    types = {"haze": {"f1": 0.9, "severity_mae": 7.5}, "low_light": {"f1": 0.8, "severity_mae": 5.0}}
    metrics = {
        "restoration": {case: scores(2.5) for case in (*CASES, "all")},
        "reasoner": {"macro_f1": 0.85},
        "reasoner_types": types,
    }
    storage.write_json("reports/metrics.json", metrics)
    monkeypatch.setattr(preflight, "check_params", lambda: None)
    monkeypatch.setattr(retrain, "run", lambda *_: SUMMARY)
    monkeypatch.setattr(rnr, "load", lambda ref: FakeModels() if ref.endswith("/4") else None)
    return place


def test_demo_shows_pictures_figures_and_what_comes_next(pipeline: Path, capsys) -> None:
    assert demo.demo() == 0
    told = capsys.readouterr().out
    strips = sorted((pipeline / "demo").iterdir())
    assert [path.name for path in strips] == ["test-000000-haze.png", "test-000002-mixture2.png"]
    strip = storage.decode_image(strips[1].read_bytes())
    assert strip.shape == (32, 3 * 32 + 2 * demo.GAP_PX, 3)
    assert (strip[0, 0] == 102).all()
    assert (strip[0, 32 + demo.GAP_PX] == 102 + BRIGHTER).all()
    assert (strip[0, -1] == 100).all()
    for words in (
        "18.00 -> 20.50",
        "+2.50",
        "0.500 -> 0.750",
        "macro F1 over all types: 0.850",
        "version 4: refused: haze: PSNR 20.10 dB, champion 21.00 dB (champion before: version 3)",
        "1 of 2 stages executed in 12 s",
        "mlflow ui --backend-store-uri sqlite:///mlflow.db",
        "rnr restore YOURPHOTO -o out",
        "haze 60, rain 20; left after restoring: haze 10.",
    ):
        assert words in told, words


def test_run_prints_the_summary_as_a_table_and_as_json(pipeline: Path, capsys) -> None:
    assert run("run") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == ["stage     outcome   seconds", "ingest    skipped      0.10", "evaluate  executed    12.25"]
    assert run("run", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["version"], report["verdict"]["action"]) == ("4", "refused")
    assert [stage["outcome"] for stage in report["stages"]] == ["skipped", "executed"]


def test_failed_run_is_one_line_and_exit_1(pipeline: Path, capsys, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise retrain.RetrainError("train_reasoner: exit code 1: no space left on device")

    monkeypatch.setattr(retrain, "run", fail)
    assert run("run") == 1
    assert capsys.readouterr().err == "rnr: run: train_reasoner: exit code 1: no space left on device\n"


@pytest.fixture
def healthy(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository where nothing is left to compute."""
    (place / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    (place / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.setattr(dvc_graph, "status", lambda: {})
    return place


def states(told: str) -> dict[str, str]:
    return {check["name"]: check["state"] for check in json.loads(told)}


def test_doctor_on_a_healthy_machine(healthy: Path, capsys) -> None:
    assert run("doctor", "--json") == 0
    found = states(capsys.readouterr().out)
    assert found["params.yaml"] == found["pipeline"] == found["telemetry"] == found["deepspeed"] == "ok"
    assert found["lock"] == found["gpu"] == found["mlflow server"] == found["postgres"] == "ok"
    assert found["champion"] == "warn"
    assert run("doctor") == 0
    assert len(capsys.readouterr().out.splitlines()) == len(found)
    assert not (healthy / "mlflow.db").exists()


def test_doctor_names_what_is_wrong_and_exits_1(healthy: Path, capsys, monkeypatch) -> None:
    text = (healthy / "params.yaml").read_text()
    (healthy / "params.yaml").write_text(text.replace("min_side_px", "min_side"))

    def broken() -> dict[str, str]:
        raise dvc_graph.GraphError("dvc.yaml: stage 'x' is\nbroken")

    monkeypatch.setattr(dvc_graph, "status", broken)
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package"))
    assert run("doctor") == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("fail    params.yaml") and "ingest.min_side" in line for line in lines)
    assert any(line.startswith("fail    pipeline       dvc.yaml: stage 'x' is broken; mend") for line in lines)
    assert "fail    no-such-package not installed; run `make setup`" in lines


def test_doctor_tells_what_is_to_be_computed(healthy: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(dvc_graph, "status", lambda: {"refine": "changed deps: models/restorer"})
    assert run("doctor", "--json") == 0
    assert states(capsys.readouterr().out)["pipeline"] == "warn"


def test_doctor_tells_a_gpu_that_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho no driver >&2\nexit 9\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = doctor.gpu()
    assert (check.state, check.told) == ("warn", "nvidia-smi finds no working GPU")
    tool.write_text("#!/bin/sh\necho 'H100, 80 GB, 580'\n", encoding="utf-8")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    (check,) = doctor.gpu()
    assert (check.state, check.told) == ("ok", "H100, 80 GB, 580")
    tool.unlink()
    (check,) = doctor.gpu()
    assert (check.state, check.told) == ("ok", "none: all runs on the processor")
