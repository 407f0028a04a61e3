"""A toy DVC repository with the shape of ours, and a real Prefect server and MLflow store for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components import params, tracking
from flows import preflight
from tests.flows.toy import SCRIPT, STAGES, metrics, write_params
from tests.tiny import empty_store


@pytest.fixture(scope="session", autouse=True)
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A real server for the whole session."""
    from prefect.settings import PREFECT_HOME, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        temporary_settings({PREFECT_HOME: tmp_path_factory.mktemp("prefect")}),
        prefect_test_harness(server_startup_timeout=400),
    ):
        yield


@pytest.fixture(scope="session")
def toy_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy repository, made once: mix -> (left, right) -> join."""
    place = tmp_path_factory.mktemp("seed") / "toy"
    place.mkdir()
    subprocess.run(["git", "init", "-q", str(place)], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=place, check=True)
    (place / "stage.py").write_text(SCRIPT, encoding="utf-8")
    (place / "data.txt").write_text("data\n", encoding="utf-8")
    (place / "reports").mkdir()
    (place / "reports/metrics.json").write_text(json.dumps(metrics(25.0)), encoding="utf-8")
    ignored = ["work", "mlflow.db*", "mlartifacts", "ran-*", "audit", "models", "data", "joined.txt"]
    (place / ".gitignore").write_text("".join(f"/{name}\n" for name in ignored), encoding="utf-8")
    stages = {
        name: {
            "cmd": f"{sys.executable} stage.py {name} {out} {' '.join(inputs)}",
            "deps": ["stage.py", *[str(Path(i).parent) if "/" in i else i for i in inputs]],
            "outs": [str(Path(out).parent) if "/" in out else out],
            "metrics": [{f"metrics/{name}.json": {"cache": False}}],
        }
        for name, (out, inputs) in STAGES.items()
    }
    (place / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", "-C", str(place), "add", "-A"], check=True)
    subprocess.run(["git", "-C", str(place), *identity, "commit", "-qm", "toy"], check=True)
    return place


@pytest.fixture
def toy(toy_seed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the toy repository as the working directory, with a store of its own."""
    place = tmp_path / "toy"
    shutil.copytree(toy_seed, place)
    shutil.copy(empty_store(), place / "mlflow.db")
    monkeypatch.chdir(place)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    for name in ("RANK", "MLFLOW_RUN_ID", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    write_params()
    # the toy has two of our sections; the check of all of them has tests of its own
    monkeypatch.setattr(preflight, "check_params", lambda path=params.PARAMS_FILE: None)
    assert tracking.uri().startswith(f"sqlite:///{place}")
    return place
