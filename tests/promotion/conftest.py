"""A working directory with small stand-ins for models and reports, and a real MLflow registry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from components.promotion import promote as promotion
from components.promotion.gate import Smoke
from components.promotion.register import register
from tests.flows.toy import PROMOTION, metrics
from tests.promotion.desk import set_data
from tests.tiny import empty_store


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with pairs of content d1. The smoke test is stood in for."""
    shutil.copy(empty_store(), tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"promotion": PROMOTION}), encoding="utf-8")
    set_data("d1")
    monkeypatch.setattr(promotion, "smoke_test", lambda folder, timeout: Smoke(2.0))
    return tmp_path


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Measuring a champion gives what it was registered with. Returns the folders that were measured."""
    folders: list[Path] = []

    def measure(folder: Path) -> dict:
        folders.append(folder)
        return json.loads((folder.parent / "reports" / "metrics.json").read_text(encoding="utf-8"))

    monkeypatch.setattr(promotion, "measure", measure)
    return folders


@pytest.fixture
def trained(desk: Path) -> Callable[..., str]:
    """Call it with a name and metrics: models of that name are registered. Returns the version."""

    def train(name: str, figures: dict | None = None) -> str:
        for part in ("models/reasoner", "models/restorer-refined", "reports"):
            (desk / part).mkdir(parents=True, exist_ok=True)
        (desk / "models/reasoner/model.txt").write_text(name, encoding="utf-8")
        (desk / "models/restorer-refined/model.txt").write_text(name, encoding="utf-8")
        (desk / "reports/metrics.json").write_text(json.dumps(figures or metrics(25.0)), encoding="utf-8")
        return register().version

    return train
