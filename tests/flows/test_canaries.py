"""Secrets that every part of a run is shown, and a search for them in all that the run leaves behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import tracking
from components.promotion import promote as promotion
from components.promotion.gate import Smoke
from components.promotion.promote import promote
from flows import retrain
from tests.flows.toy import metrics
from tests.test_tracking_server import server  # noqa: F401  (a fixture)
from tests.tiny import REPOSITORY

CANARIES = {
    "AWS_ACCESS_KEY_ID": "AKIACANARYCANARY0001",
    "AWS_SECRET_ACCESS_KEY": "canary/aws+secret/0002",
    "AWS_SESSION_TOKEN": "canary-aws-session-0003",
    "OPENAI_API_KEY": "sk-canary-openai-0004",
    "RNR_TEACHER_API_KEY": "canary-teacher-0005",
    "PREFECT_API_KEY": "pnu_canaryprefect0006",
    "MLFLOW_TRACKING_PASSWORD": "canary-mlflow-0007",
    "MLFLOW_BACKEND_STORE_URI": "postgresql://mlflow:canary-database-0008@db:5432/mlflow",
    "PGPASSWORD": "canary-postgres-0009",
}
REMOTE = "canary-remote-0010"  # stands in DVC's own configuration, not in the environment
ADDRESS = "canary-address-0011"  # the password of MLFLOW_TRACKING_URI
WORDS = [value.rpartition("://")[2].partition("@")[0].rpartition(":")[2] for value in CANARIES.values()]
WORDS += [REMOTE, ADDRESS]

# what a careless stage does: it prints its environment, and logs it as parameters, tags and words of an error
CARELESS = f"""
import os, sys
def careless():
    sys.path.insert(0, {str(REPOSITORY)!r})
    from components import tracking
    shown = {{name: os.environ[name] for name in {sorted(CANARIES)!r}}}
    for name, value in shown.items():
        print(f"the environment has {{name}}={{value}}", flush=True)
    print("a remote at s3://key:" + "-".join(["canary", "remote", "0010"]) + "@store/bucket", flush=True)
    print("the store is " + os.environ["MLFLOW_TRACKING_URI"], flush=True)
    with tracking.stage_run(sys.argv[1], {{"settings": shown, "store": os.environ["MLFLOW_TRACKING_URI"]}}) as run:
        run.tags({{"teacher": shown["RNR_TEACHER_API_KEY"], "note": f"key {{shown['OPENAI_API_KEY']}}"}})
    if os.path.exists("leak"):
        os.remove("leak")
        sys.exit("cannot open " + shown["MLFLOW_BACKEND_STORE_URI"] + " with " + shown["PGPASSWORD"])
if sys.argv[1] == "mix":
    careless()
"""


def found_in(data: bytes) -> list[str]:
    """The canaries in some bytes, as text of 8 or 16 bits."""
    return [word for word in WORDS if word.encode() in data or word.encode("utf-16-le") in data]


def files(*tops: Path) -> Iterator[Path]:
    for top in tops:
        yield from (path for path in sorted(top.rglob("*")) if path.is_file() and not path.is_symlink())


def lines_in_prefect(run: str) -> list[str]:
    """The log of the newest flow run as the server has it, once `run` stands in it; it is sent in the background."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import LogSort

    with get_client(sync_client=True) as client:
        for _ in range(240):
            lines = [log.message for log in client.read_logs(limit=200, sort=LogSort.TIMESTAMP_DESC)]
            if any(run in line for line in lines):
                return lines
            time.sleep(0.25)
    raise AssertionError(f"no line with {run!r} came to the server")


def database_of_prefect() -> Path:
    from prefect.settings import get_current_settings

    url = get_current_settings().server.database.connection_url
    assert url is not None
    return Path(url.get_secret_value().partition(":///")[2])


@pytest.mark.parametrize("store", ["file", pytest.param("server", marks=pytest.mark.slow)])
def test_no_canary_is_left_behind(
    store: str, toy: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capfd, caplog
) -> None:
    monkeypatch.setattr(promotion, "measure", lambda folder: metrics(25.0))
    monkeypatch.setattr(promotion, "smoke_test", lambda folder, timeout: Smoke(1.0))
    tops = [toy, database_of_prefect().parent]
    if store == "server":
        address = request.getfixturevalue("server")
        monkeypatch.chdir(toy)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address.replace("://", f"://canary-user:{ADDRESS}@"))
        tops.append(toy.parent / "server")
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    (toy / ".dvc/config.local").write_text(
        f"['remote \"team\"']\n    url = https://me:{REMOTE}@store.invalid/dvc\n", encoding="utf-8"
    )
    script = Path("stage.py").read_text(encoding="utf-8")
    Path("stage.py").write_text(CARELESS + script, encoding="utf-8")

    # one run that fails with a secret as its last words, one that goes through, a promotion by hand
    Path("leak").touch()
    with pytest.raises(retrain.RetrainError) as failure:
        retrain.run()
    assert "cannot open postgresql://***@db:5432/mlflow with ***" in str(failure.value)
    summary = retrain.run()
    assert summary.verdict.action == "promoted"
    promote()

    lines = lines_in_prefect("the environment has PGPASSWORD")
    # the test can fail: what was to be hidden did come through, hidden
    assert "the environment has AWS_SECRET_ACCESS_KEY=***" in lines
    assert any("a remote at s3://***@store/bucket" in line for line in lines)
    run = tracking.client().get_run(str(tracking.last_run("mix")))
    assert run.data.params["settings.OPENAI_API_KEY"] == "***"
    assert run.data.tags["note"] == "key ***"

    written = capfd.readouterr()
    assert found_in((written.out + written.err + caplog.text + "\n".join(lines)).encode()) == []
    searched = 0
    for path in files(*tops):
        if path.name != "config.local":
            data = path.read_bytes()
            searched += b"the environment has PGPASSWORD=***" in data
            assert found_in(data) == [], path
    # the log did lie in one of the files that were searched
    assert searched >= 1


def test_the_search_would_find_them(tmp_path: Path) -> None:
    for number, word in enumerate(WORDS):
        (tmp_path / str(number)).write_bytes(b"\0\1" + word.encode() + b"\0")
    assert [found_in(path.read_bytes()) for path in files(tmp_path)] != []
    assert sum(len(found_in(path.read_bytes())) for path in files(tmp_path)) == len(WORDS) == 11
