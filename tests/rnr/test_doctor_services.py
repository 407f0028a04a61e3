"""The doctor at services that answer, refuse, are of another version or are not there; and at DVC's remotes."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rnr import doctor_services, lock
from rnr.checks import FAIL, OK, WARN
from tests.test_tracking_server import server  # noqa: F401  (a fixture)


class Answers(ThreadingHTTPServer):
    """Answers paths with (status, text) of `pages`; `seen` has the Authorization headers."""

    pages: dict[str, tuple[int, str]]
    seen: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Answers

    def do_GET(self) -> None:
        self.server.seen.append(self.headers.get("Authorization"))
        status, text = self.server.pages.get(self.path, (404, ""))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Silence."""


@pytest.fixture
def answers() -> Iterator[Answers]:
    web = Answers(("127.0.0.1", 0), Handler)
    web.pages, web.seen = {}, []
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield web
    web.shutdown()
    web.server_close()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address and no credential from the machine that runs the tests."""
    for name in (
        *doctor_services.DATABASES,
        *("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
        *("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"),
    ):
        monkeypatch.delenv(name, raising=False)


def test_mlflow_that_answers_refuses_or_is_older(answers: Answers, bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    at = f"127.0.0.1:{answers.server_port}"
    ours = lock.pins()["mlflow"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:pass-canary@{at}/")
    answers.pages = {"/health": (200, "OK"), "/version": (200, ours)}
    (check,) = doctor_services.mlflow()
    assert check.state == OK
    assert check.told == f"http://***@{at}/, version {ours}"
    assert answers.seen[0] == f"Basic {base64.b64encode(b'me:pass-canary').decode()}"
    answers.pages["/version"] = (200, "2.1.0")
    (check,) = doctor_services.mlflow()
    assert (check.state, check.told) == (WARN, f"http://***@{at}/, version 2.1.0; pinned here is {ours}")
    for status, remedy in ((403, "--allowed-hosts"), (401, "MLFLOW_TRACKING_USERNAME"), (500, "start it")):
        answers.pages["/health"] = (status, "")
        (check,) = doctor_services.mlflow()
        assert (check.state, check.told) == (FAIL, f"http://***@{at}/ answers {status}")
        assert remedy in check.remedy


def test_prefect_that_answers_or_is_something_else(
    answers: Answers, bare: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (check,) = doctor_services.prefect()
    assert (check.state, check.told) == (OK, "no PREFECT_API_URL: every run starts a server of its own")
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{answers.server_port}/api")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:pass-canary")
    answers.pages = {"/api/health": (200, "true"), "/api/admin/version": (200, f'"{lock.pins()["prefect"]}"')}
    (check,) = doctor_services.prefect()
    assert check.state == OK
    assert answers.seen[0] == f"Basic {base64.b64encode(b'admin:pass-canary').decode()}"
    answers.pages["/api/admin/version"] = (200, "<html>")
    (check,) = doctor_services.prefect()
    assert (check.state, check.told.endswith("is no Prefect")) == (FAIL, True)
    answers.pages["/api/health"] = (401, "")
    (check,) = doctor_services.prefect()
    assert "PREFECT_API_AUTH_STRING" in check.remedy


def test_services_that_are_not_there_cost_a_line(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("PREFECT_API_URL", f"{address}/api")
    for check in (*doctor_services.mlflow(), *doctor_services.prefect()):
        assert check.state == FAIL
        assert "cannot be reached" in check.told
        assert "start it" in check.remedy


def test_postgres_drivers_matter_where_an_address_asks_for_them(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [check.state for check in doctor_services.postgres()] == [OK]
    monkeypatch.setattr(doctor_services, "DRIVERS", {"no_such_driver": "MLflow"})
    assert [check.state for check in doctor_services.postgres()] == [WARN]
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "postgresql+psycopg2://me:x@db/mlflow")
    assert [check.state for check in doctor_services.postgres()] == [FAIL]


def test_remotes_are_asked_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [check.state for check in doctor_services.remotes()] == [WARN]

    def dvc(*words: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *words], check=True, capture_output=True)

    dvc("init", "-q", "--no-scm")
    (check,) = doctor_services.remotes()
    assert check.told.startswith("none")
    (tmp_path / "store").mkdir()
    dvc("remote", "add", "-q", "-d", "here", str(tmp_path / "store"))
    dvc("remote", "add", "-q", "new", str(tmp_path / "nothing"))
    dvc("remote", "add", "-q", "web", "http://me:pass-canary@127.0.0.1:9/dvc")
    here, new, web = doctor_services.remotes()
    assert (here.state, new.state) == (OK, WARN)
    assert "`dvc push` fills it" in new.remedy
    assert web.state == FAIL
    assert "pass-canary" not in " ".join(web)


@pytest.mark.slow
def test_a_real_mlflow_server(server: str, bare: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    (check,) = doctor_services.mlflow()
    assert (check.state, check.told) == (OK, f"{server}, version {lock.pins()['mlflow']}")
