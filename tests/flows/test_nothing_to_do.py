"""What a run with nothing to do must not pay for; the seconds are in benchmarks/orchestration.py."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from components import params
from flows import preflight, temporary_server
from tests.tiny import environment, write_params

HEAVY = ["torch", "transformers", "scipy.stats", "mlflow", "dvc.repo"]
ASK = f"""
import sys
from flows import preflight, retrain
preflight.check_params()
print([name for name in {HEAVY} if name in sys.modules])
"""


def test_the_flow_is_imported_and_known_parameters_are_checked_without_what_is_heavy(tmp_path: Path) -> None:
    write_params(tmp_path)
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", ASK], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
        )
        said.append(done.stdout.splitlines()[-1])
    # a file that was not seen before needs a class that comes with torch
    assert "torch" in said[0]
    assert said[1] == "[]"


def test_parameters_that_changed_are_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    preflight.check_params()
    asked: list[str] = []
    monkeypatch.setattr(preflight, "_check_sections", asked.append)
    preflight.check_params()
    assert asked == []
    text = Path(params.PARAMS_FILE).read_text(encoding="utf-8")
    Path(params.PARAMS_FILE).write_text(text.replace("parallelism: 1", "parallelism: 2"), encoding="utf-8")
    preflight.check_params()
    assert asked == [params.PARAMS_FILE]
    # what was found wrong is not remembered as valid
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    Path(params.PARAMS_FILE).write_text(text.replace("parallelism: 1", "parallelism: 0"), encoding="utf-8")
    for _ in range(2):
        with pytest.raises(params.ParamsError, match=r"flow\.parallelism"):
            preflight.check_params()


SERVE = """
import os, signal, sys
from flows import temporary_server
temporary_server.begin()
with temporary_server.starting() as begun:
    assert begun
from prefect.client.orchestration import get_client
client = get_client(sync_client=True)
print(client.api_url, client.hello().status_code, "prefect.server" in sys.modules, flush=True)
os.kill(os.getpid(), getattr(signal, sys.argv[1])) if sys.argv[1:] else None
"""


def serve(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in environment().items() if name != "PREFECT_API_URL"}
    given = {**kept, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", **variables}
    argv = [sys.executable, "-c", SERVE, *arguments]
    return subprocess.run(argv, env=given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("end", ["", "SIGKILL"])
def test_a_run_without_a_server_gets_one_that_ends_with_it(tmp_path: Path, end: str) -> None:
    done = serve(tmp_path, *filter(None, [end]))
    assert done.returncode == (-signal.SIGKILL if end else 0), done.stderr
    api, answered, imported = done.stdout.split()
    assert (answered, imported) == ("200", "False")
    address = urlsplit(api)
    due = time.monotonic() + 30
    while listening(str(address.hostname), address.port or 0):
        assert time.monotonic() < due, "the server outlives the run"
        time.sleep(0.1)


def listening(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except ConnectionRefusedError:
        return False
    return True


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "uvicorn" in child.cmdline()]


def test_what_was_begun_early_ends_where_a_profile_of_prefects_knows_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    temporary_server.begin()
    assert children() == before
    monkeypatch.delenv("PREFECT_API_URL")
    temporary_server.begin()
    (begun,) = (child for child in children() if child not in before)
    # the tests' server is known to Prefect's settings alone, as one of a profile is
    with temporary_server.starting() as ours:
        assert ours is False
    assert not begun.is_running() and children() == before
    assert temporary_server._begun == []


def test_where_there_is_a_server_none_is_started() -> None:
    with temporary_server.starting() as begun:
        assert begun is False  # the tests have one


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "1", "does not answer after 1 s"),
        ("PREFECT_API_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////nowhere/prefect.db", "ended with code"),
    ],
)
def test_a_server_that_does_not_come_up_is_one_line(tmp_path: Path, variable: str, value: str, line: str) -> None:
    done = serve(tmp_path, **{variable: value})
    assert done.returncode == 1
    assert line in done.stderr.splitlines()[-1]
    assert "TemporaryServerError" in done.stderr.splitlines()[-1]
