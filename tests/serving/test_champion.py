"""A registered champion behind both endpoints, and its successor taking over under load.

pytest -m slow tests/serving/test_champion.py
"""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from components import tracking
from components.serving import package
from tests.serving.endpoint import photo, serving
from tests.tiny import REPOSITORY, environment

pytestmark = pytest.mark.slow
CLIENTS = 4


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two versions of the pretrained pair in its registry; the first is the champion."""
    place = tmp_path_factory.mktemp("registry")
    (place / "reports").mkdir()
    (place / "reports" / "metrics.json").write_text("{}", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        parts = (REPOSITORY / "pretrained/reasoner", REPOSITORY / "pretrained/restorer", place / "reports")
        for _ in range(2):
            package.log(*parts, None, {}, "# Card")
        point("1")
        yield place


def point(version: str) -> None:
    tracking.client().set_registered_model_alias(tracking.MODEL_NAME, "champion", version)


def test_a_new_champion_takes_over_under_load_and_no_request_is_lost(registry: Path) -> None:
    point("1")
    with serving(registry, "--reload-every", "0.5") as server:
        answers: list[tuple[int, str]] = []
        over = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=server.url, timeout=300) as client:
                while not over.is_set():
                    answer = client.post("/v1/restore", files={"image": photo()}, data={"edit": "noise=40"})
                    answers.append((answer.status_code, answer.headers.get("rnr-model", "")))

        crowd = [threading.Thread(target=ask) for _ in range(CLIENTS)]
        for one in crowd:
            one.start()
        wait_for(lambda: len(answers) >= 2 * CLIENTS)
        point("2")
        wait_for(lambda: any("/2" in model for _, model in answers[-CLIENTS:]))
        # the registry loses its champion: an accident, no wish to go back to the pretrained pair
        tracking.client().delete_registered_model_alias(tracking.MODEL_NAME, "champion")
        wait_for(lambda: server.metric('rnr_model_reloads_total{outcome="failed"}') >= 1)
        seen = len(answers)
        wait_for(lambda: len(answers) >= seen + 2 * CLIENTS)
        over.set()
        for one in crowd:
            one.join()
        point("1")
        assert {status for status, _ in answers} == {200}
        models = [model for _, model in answers]
        assert set(models) == {'"models:/reason-and-restore/1"', '"models:/reason-and-restore/2"'}
        # in the order of the answers at most those that were at work at the moment of the change are mixed
        assert (
            '"models:/reason-and-restore/1"' not in models[models.index('"models:/reason-and-restore/2"') + CLIENTS :]
        )
        assert server.metric('rnr_model_reloads_total{outcome="done"}') == 1
        assert server.stop() == 0
        assert server.log.read_text(encoding="utf-8").count("no such model any more") == 1


def test_mlflow_serves_the_same_model(registry: Path) -> None:
    """A real `mlflow models serve` and a real `rnr serve` on the champion: the same pixels and severities."""
    sent = photo("PNG", (64, 48))
    with serving(registry) as server:
        told = server.post("/v1/restore", sent, edit="noise=40", format="png", accept="application/json").json()
    assert told["model"] == "models:/reason-and-restore/1"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "mlflow", "models", "serve", "-m", tracking.CHAMPION, "--env-manager", "local"]
    variables = environment() | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{registry}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    # away from the repository: the version brings its own code
    variables.pop("PYTHONPATH")
    with open(registry / "mlflow.log", "wb") as log:
        process = subprocess.Popen(
            [*argv, "--port", str(port)], cwd=registry, env=variables, stdout=log, stderr=log, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"

        def up() -> bool:
            assert process.poll() is None, (registry / "mlflow.log").read_text(encoding="utf-8")
            try:
                return httpx.get(f"{url}/ping", timeout=5).status_code == 200
            except httpx.HTTPError:
                return False

        wait_for(up)
        body = {
            "dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(sent).decode()]]},
            "params": {"edits": json.dumps({"noise": 40}), "strength": 1.0},
        }
        answer = httpx.post(f"{url}/invocations", json=body, timeout=300)
        assert answer.status_code == 200, answer.text
        (row,) = answer.json()["predictions"]
    finally:
        # the command and the server that it started
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)
    assert np.array_equal(pixels(row["image"]), pixels(told["image"]))
    diagnosis = json.loads(row["diagnosis"])
    assert diagnosis["before"]["findings"]["noise"]["severity"] == 40
    assert diagnosis["after"]["findings"].keys() == told["after"]["findings"].keys()


def pixels(coded: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(coded))) as image:
        return np.asarray(image)


def wait_for(true, seconds: float = 400) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.2)
