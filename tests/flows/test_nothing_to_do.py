"""What a run with nothing to do must not pay for; the seconds are in benchmarks/orchestration.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from prefect.server.api.server import SubprocessASGIServer

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


def test_the_server_starts_beside_the_imports_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with temporary_server.starting() as begun:
        assert begun is False  # the tests have a server
    order: list[str] = []
    monkeypatch.setattr(temporary_server, "wanted", lambda: True)
    monkeypatch.setattr(SubprocessASGIServer, "start", lambda self: order.append("started"))
    with temporary_server.starting() as begun:
        assert begun is True
    assert order == ["started"]

    def broken(self: SubprocessASGIServer) -> None:
        raise RuntimeError("no port is free")

    monkeypatch.setattr(SubprocessASGIServer, "start", broken)
    with pytest.raises(RuntimeError, match="no port is free"), temporary_server.starting():
        pass
