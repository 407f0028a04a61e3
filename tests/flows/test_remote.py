"""Two clones and what they share: the toy repository, a real DVC remote."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.promotion import promote as promotion
from components.promotion.gate import Smoke
from flows import remote, retrain
from flows.stage import Children
from tests.flows.test_retrain import outcomes
from tests.flows.toy import dvc, metrics


def commit() -> None:
    author = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["add", "-A"], ["commit", "-qm", "results"]):
        subprocess.run(["git", *author, *words], check=True)


def test_what_one_clone_computed_another_fetches(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(promotion, "smoke_test", lambda folder, timeout: Smoke(1.0))
    monkeypatch.setattr(promotion, "measure", lambda folder: metrics(25.0))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv(remote.VARIABLE, str(shared))
    assert set(outcomes(retrain.run()).values()) == {"executed"}
    assert list(shared.glob("files/md5/*/*")) and list(shared.glob("runs/*/*"))
    assert not remote.UNSENT.exists()
    assert remote.configured() == remote.NAME
    commit()

    # a fresh clone: DVC alone executes nothing
    plain = tmp_path / "plain"
    subprocess.run(["git", "clone", "-q", str(toy), str(plain)], check=True)
    monkeypatch.chdir(plain)
    assert remote.main() == 0
    dvc("pull", "-q")
    assert "Running stage" not in dvc("repro")
    # nor does the flow by itself, which fetches first
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", str(toy), str(other)], check=True)
    monkeypatch.chdir(other)
    assert not Path("joined.txt").exists()
    assert set(outcomes(retrain.run()).values()) == {"skipped"}
    assert Path("joined.txt").exists() and not list(Path().glob("ran-*"))

    # the remote goes away: the run says so, and the next one sends
    Path("data.txt").write_text("third\n", encoding="utf-8")
    monkeypatch.setattr(retrain.prepare, "send_results", gone)
    with pytest.raises(retrain.RetrainError, match="cannot be sent"):
        retrain.run()
    assert remote.UNSENT.exists()


def gone(children: Children) -> None:
    raise remote.RemoteError("cannot be sent")


def test_without_a_remote_nothing_is_asked_of_it(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(remote.VARIABLE, raising=False)
    monkeypatch.setattr(remote, "run_dvc", lambda *_: pytest.fail("DVC was asked"))
    assert remote.connect(Children(), print) is False


@pytest.mark.parametrize("address", ["s3://key:secret-word@bucket/dvc", "bucket/dvc"])
def test_a_wrong_address_is_one_line_without_secrets(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    monkeypatch.setenv(remote.VARIABLE, address)
    assert remote.main() == 1
    said = capsys.readouterr().err
    assert remote.VARIABLE in said and "secret-word" not in said and said.count("\n") == 1


def test_another_address_replaces_the_first(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("/one", "/two", "/two"):
        monkeypatch.setenv(remote.VARIABLE, address)
        assert remote.connect(Children(), print)
    listed = subprocess.run([sys.executable, "-m", "dvc", "remote", "list"], capture_output=True, text=True, check=True)
    assert listed.stdout.split()[:2] == [remote.NAME, "/two"]
    # it is this clone's own: git does not see it
    status = subprocess.run(["git", "status", "--porcelain", ".dvc"], capture_output=True, text=True, check=True)
    assert not status.stdout
    shutil.rmtree("work")
