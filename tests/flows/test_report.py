"""The report of a run: logged to its MLflow run, announced in Prefect with its headline."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from prefect import flow
from prefect.artifacts import Artifact

from components import tracking
from components.report import evidence
from flows import parent_run, report
from flows.stage import StageResult
from tests.report.made_up import lay_out, verdict


def test_the_report_reaches_the_run_and_prefect(toy: Path) -> None:
    shutil.rmtree("reports")
    lay_out(toy)
    parent = parent_run.start_parent("retrain")

    @flow
    def publish() -> None:
        done = (StageResult("evaluate", "executed", 4.2, None), StageResult("report", "executed", 1.0, None))
        report.publish_report(parent, done, verdict({"haze": -0.2}))

    publish()
    text = report.PAGE.read_text(encoding="utf-8")
    assert parent in text and "Version 3: promoted" in text and "4.2" in text
    logged = [file.path for file in tracking.client().list_artifacts(parent)]
    assert logged == ["index.html"]
    artifact = Artifact.get(report.ARTIFACT)
    said = str(getattr(artifact, "data", ""))
    assert "against champion 2" in said and "work/report/index.html" in said
    # the page of DVC's stage is not touched
    assert not Path("reports/index.html").exists()

    # a run in which nothing was executed and nothing decided has nothing to add; any other has
    idle, settled = (StageResult("report", "skipped", 0.0, None),), replace(verdict({}), action="unchanged")
    assert report.told_before(idle, settled) == parent
    assert report.told_before(idle, verdict({})) is None
    assert report.told_before((StageResult("report", "executed", 1.0, None),), settled) is None
    assert report.told_before(idle, replace(settled, version="4")) is None
    lock = Path("dvc.lock").read_text(encoding="utf-8")
    Path("dvc.lock").write_text("stages: {}\n", encoding="utf-8")
    assert report.told_before(idle, settled) is None
    Path("dvc.lock").write_text(lock, encoding="utf-8")
    assert report.told_before(idle, settled) == parent
    report.PAGE.unlink()
    assert report.told_before(idle, settled) is None


def test_with_a_server_it_is_a_link_without_the_password(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = parent_run.start_parent("retrain")
    monkeypatch.setattr(tracking, "uri", lambda: "https://user:secret@mlflow.example/")
    place = parent_run.attach(parent, toy / "data.txt")
    assert place.startswith("https://mlflow.example/#/experiments/")
    assert place.endswith(f"/runs/{parent}/artifacts/data.txt")
    lay_out(toy / "elsewhere")
    monkeypatch.chdir(toy / "elsewhere")
    told = report.headline(evidence.read(), verdict({}), place)
    assert f"[The evaluation report]({place})" in told
