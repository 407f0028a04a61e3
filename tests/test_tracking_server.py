"""The same against a real MLflow server that keeps the artifacts itself: what a team has.

pytest -m slow tests/test_tracking_server.py
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import tracking
from components.serving import package

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = tmp_path / "server"
    place.mkdir()
    argv = ["server", "--backend-store-uri", f"sqlite:///{place}/mlflow.db", "--workers", "1", "--port", str(port)]
    argv += ["--artifacts-destination", str(place / "artifacts"), "--host", "127.0.0.1"]
    address = f"http://127.0.0.1:{port}"
    with open(place / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen([sys.executable, "-m", "mlflow", *argv], cwd=place, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2)
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, (place / "log").read_text(encoding="utf-8")
                assert time.monotonic() < end, "the server did not start within 120 s"
                time.sleep(0.5)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
        monkeypatch.chdir(tmp_path)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_runs_checkpoints_and_models_through_a_server(server: str, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_text("weights", encoding="utf-8")
    with tracking.stage_run("train_restorer", {"steps": 3}, keep_checkpoints=1) as run:
        for step in range(3):
            run.metrics({"loss": 1.0}, step=step)
            run.checkpoint(weights, step, {"val_psnr": float(step)}, best=step == 0)
    store = tracking.client()
    experiment = store.get_experiment_by_name(tracking.EXPERIMENT)
    assert {model.tags["step"] for model in store.search_logged_models([experiment.experiment_id])} == {"0", "2"}
    assert len(list((tmp_path / "server" / "artifacts").rglob("model.safetensors"))) == 2

    for part in ("reasoner", "restorer", "reports"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "model.txt").write_text(part, encoding="utf-8")
    parts = (tmp_path / "reasoner", tmp_path / "restorer", tmp_path / "reports")
    version = package.log(*parts, run.run_id, {}, "# Card")
    store.set_registered_model_alias(tracking.MODEL_NAME, "champion", version)
    folder = tracking.fetch_model()
    assert (folder / "restorer" / "model.txt").read_text(encoding="utf-8") == "restorer"
    assert folder.is_relative_to(tmp_path / "cache")
    before = folder.stat().st_mtime_ns
    assert tracking.fetch_model() == folder
    assert folder.stat().st_mtime_ns == before
    with pytest.raises(tracking.NoSuchModel, match="no such model"):
        tracking.fetch_model(f"models:/{tracking.MODEL_NAME}@nobody")
    assert not (tmp_path / "mlflow.db").exists()
