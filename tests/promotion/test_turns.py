"""Real processes at one registry at the same time, killed ones among them, and a record that shows what was changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components import tracking
from components.promotion import promote as promotion
from components.promotion import record, turns, versions
from components.promotion.promote import promote
from components.promotion.rollback import rollback
from components.promotion.versions import PromotionError
from components.tracking import sequence
from rnr import cli
from tests.promotion.desk import audit_lines
from tests.test_tracking_server import server  # noqa: F401  (a fixture)
from tests.tiny import environment

# what another machine does: the real functions, with the models' measuring and loading stood in for
WORKER = """
import json, sys
from components.promotion import promote as promotion
from components.promotion.gate import Smoke
from components.promotion.rollback import rollback
promotion.smoke_test = lambda folder, timeout: Smoke(2.0)
promotion.measure = lambda folder: json.loads((folder.parent / "reports/metrics.json").read_text())
from components.promotion.turns import one_at_a_time
from components import tracking
tracking.client()
print("ready", flush=True)
sys.stdin.readline()
if sys.argv[1] == "hold":
    with one_at_a_time("holding"):
        print("holding", flush=True)
        sys.stdin.readline()
else:
    print(promotion.promote().action if sys.argv[1] == "promote" else rollback(sys.argv[2]).after, flush=True)
"""


def worker(folder: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """A process in a checkout of its own that waits for a line before it begins."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *words],
        cwd=folder,
        env=environment() | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def tell(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def hear(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


@pytest.fixture
def elsewhere(desk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second checkout, as on another machine: the same data, no file of the first."""
    place = tmp_path_factory.mktemp("elsewhere")
    for name in ("params.yaml", "dvc.lock"):
        shutil.copy(desk / name, place / name)
    shutil.copytree(desk / "data", place / "data")
    return place


def together(*children: subprocess.Popen[str]) -> list[str]:
    """Start them at one moment; the last line of each."""
    assert [hear(child) for child in children] == ["ready"] * len(children)
    for child in children:
        tell(child)
    said = [child.communicate(timeout=300)[0].splitlines()[-1] for child in children]
    assert [child.returncode for child in children] == [0] * len(children)
    return said


def check_promotions(here: Path, elsewhere: Path, trained: Callable[..., str]) -> None:
    """Two promotions at one moment from two checkouts."""
    trained("a")
    assert sorted(together(worker(here, "promote"), worker(elsewhere, "promote"))) == ["promoted", "unchanged"]
    assert [entry.content["action"] for entry in record.read()] == ["promoted"]
    assert record.faults(record.read(), "1") == []
    assert sequence.entries(turns.QUEUE) == {}


def check_rollback(here: Path, elsewhere: Path, trained: Callable[..., str]) -> None:
    """A promotion and a rollback at one moment; version 1 is the champion."""
    trained("b")
    promote()
    trained("c")
    said = together(worker(here, "promote"), worker(elsewhere, "rollback", "1"))
    assert said[1] == "1"
    named, entries = versions.aliases(), record.read()
    assert [entry.content["action"] for entry in entries[2:]] in (
        ["promoted", "rolled back"],
        ["rolled back", "promoted"],
    )
    # whoever came last has it, and nothing was lost between the two
    assert named["champion"] == entries[-1].content["champion_after"]
    assert named["previous_champion"] == entries[-1].content["champion_before"]
    assert record.faults(entries, named["champion"]) == []
    assert sequence.entries(turns.QUEUE) == {}


def test_two_machines_on_one_database(
    desk: Path, elsewhere: Path, trained: Callable[..., str], measured: list[Path]
) -> None:
    check_promotions(desk, elsewhere, trained)


@pytest.mark.slow
def test_two_machines_on_one_server(
    desk: Path,
    elsewhere: Path,
    trained: Callable[..., str],
    measured: list[Path],
    server: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(desk)
    assert tracking.uri() == server
    check_promotions(desk, elsewhere, trained)
    check_rollback(desk, elsewhere, trained)


def test_a_killed_process_holds_up_nobody_for_long(
    desk: Path, trained: Callable[..., str], measured: list[Path], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    trained("a")
    monkeypatch.setattr(turns, "LEASE_SECONDS", 2.0)
    holder = worker(desk, "hold")
    assert hear(holder) == "ready"
    tell(holder)
    assert hear(holder) == "holding"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert len(sequence.entries(turns.QUEUE)) == 1
    assert promote().action == "promoted"
    assert f"waiting for process {holder.pid} on " in capsys.readouterr().err
    assert sequence.entries(turns.QUEUE) == {}


def test_a_process_that_lost_its_turn_moves_nothing(
    trained: Callable[..., str], measured: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained("a")

    def stand_still(folder: Path) -> dict:
        (number,) = sequence.entries(turns.QUEUE)
        sequence.remove(turns.QUEUE, number)
        return json.loads((folder.parent / "reports" / "metrics.json").read_text(encoding="utf-8"))

    monkeypatch.setattr(promotion, "measure", stand_still)
    with pytest.raises(PromotionError, match="lost its turn"):
        promote()
    assert versions.aliases() == {"challenger": "1"}
    assert record.read() == []


def test_the_record_shows_what_was_changed(
    desk: Path, trained: Callable[..., str], measured: list[Path], capsys
) -> None:
    for name in ("a", "b"):
        trained(name)
        promote()
    rollback()
    assert cli.main(["history"]) == 0
    told = capsys.readouterr().out
    assert "rolled back" in told
    assert told.endswith("3 entries, the record is whole\n")
    assert cli.main(["history", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert [entry["action"] for entry in entries] == ["promoted", "promoted", "rolled back"]
    assert entries == audit_lines()
    assert entries[1]["previous"] == entries[0]["sha256"]
    assert {"by", "host", "git_sha", "git_dirty", "time", "figures", "data"} <= set(entries[1])

    text = record.read()[1].text
    sequence.mark(record.RECORD, 2, "entry", text.replace('"promoted"', '"refused"'))
    assert cli.main(["history"]) == 1
    told = capsys.readouterr()
    assert "entry 2 was changed after it was written" in told.err
    assert told.out.endswith("the record is NOT whole\n")
    # with a digest to match, the next entry gives it away, and so does the copy on this machine
    forged = text.replace('"promoted"', '"refused"')
    sequence.mark(record.RECORD, 2, "entry", forged)
    sequence.mark(record.RECORD, 2, "sha256", record._digest(forged))
    faults = record.faults(record.read(), versions.aliases()["champion"])
    assert faults[0] == "entry 3 does not follow the one before it"
    assert "line 2 (entry 2) is not what the registry has" in faults[1]
    sequence.remove(record.RECORD, 2)
    assert "entries 2 to 2 were removed" in record.faults(record.read(), versions.aliases()["champion"])[0]
    # the newest removed: only the copies know
    sequence.remove(record.RECORD, 3)
    assert cli.main(["history", "--json"]) == 1
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert any("line 3 (entry 3) is not what the registry has" in fault for fault in faults)
    lines = record.LOCAL.read_text(encoding="utf-8").splitlines()
    record.LOCAL.write_text("\n".join([lines[0].replace("promoted", "refused"), "{}"]) + "\n", encoding="utf-8")
    faults = record.faults(record.read(), versions.aliases()["champion"])
    assert any("line 1 was changed" in fault for fault in faults)
    assert any("line 2 is no entry" in fault for fault in faults)


def test_secrets_in_reasons_do_not_reach_the_record(
    trained: Callable[..., str], measured: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-9000")
    monkeypatch.setattr(promotion, "smoke_test", lambda f, t: promotion.Smoke(None, "no key canary-9000"))
    version = trained("a")
    promote()
    assert "canary-9000" not in json.dumps(audit_lines()) + json.dumps(versions.version_tags(version))
    assert "no key ***" in audit_lines()[0]["reasons"][0]
