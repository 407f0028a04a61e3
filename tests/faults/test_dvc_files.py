"""DVC's cache, lock files and clock, and DVC itself killed: the flow's first step mends, and the lock file is the same.

    pytest -m quick_faults tests/faults/test_dvc_files.py

The repository is the toy of tests/flows: four stages of a moment each, real DVC.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from components import storage
from flows import guard, mend
from tests.faults.campaign import Campaign, drawn, rounds
from tests.faults.test_torn_files import DAMAGES
from tests.flows.conftest import toy, toy_seed
from tests.flows.toy import STAGES

__all__ = ["toy", "toy_seed"]  # fixtures
OUTPUTS = ["models", "data", "metrics", "joined.txt"]
KILLS = 6


def repro(folder: Path | None = None) -> str:
    """`dvc repro`, which must end well; its lines."""
    argv = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def finished(toy_seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy after an undisturbed `dvc repro`, committed."""
    place = tmp_path_factory.mktemp("finished") / "toy"
    shutil.copytree(toy_seed, place)
    shutil.copy(place / "dvc.yaml", place / "params.yaml")
    repro(place)
    author = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["add", "-A"], ["commit", "-qm", "done"]):
        subprocess.run(["git", *author, *words], cwd=place, check=True)
    return place


@pytest.fixture
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the working directory."""
    place = tmp_path / "toy"
    shutil.copytree(finished, place, symlinks=True)
    monkeypatch.chdir(place)
    return place


def state(folder: Path) -> tuple[bytes, dict[str, str]]:
    """dvc.lock, and the digest of each output."""
    digests = storage.digests_of(folder)
    kept = {name: digest for name, digest in digests.items() if name.split("/")[0] in OUTPUTS}
    return (folder / "dvc.lock").read_bytes(), kept


def mended() -> str:
    said: list[str] = []
    mend.look_around(said.append)
    return "\n".join(said)


def remove_outputs() -> None:
    for name in OUTPUTS:
        shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink()


def objects() -> list[Path]:
    return sorted(path for path in Path(".dvc/cache/files/md5").glob("??/*") if path.is_file())


@pytest.mark.parametrize("number", rounds(1, 8))
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_object_of_the_cache_is_never_taken(
    finished: Path, here: Path, campaign: Campaign, damage: str, number: int
) -> None:
    draw = drawn("cache", damage, number)
    hit = draw.choice(objects())
    before = hit.stat()
    hit.chmod(0o644)
    DAMAGES[damage](hit, draw)
    hit.chmod(0o444)
    # as a failing disk does it: the file looks as ever
    os.utime(hit, ns=(before.st_atime_ns, before.st_mtime_ns))
    remove_outputs()
    assert f"object {hit.parent.name}{hit.name} was damaged" in mended()
    repro()
    assert state(here) == state(finished)
    campaign.note(f"object of DVC's cache {damage}", "DVC")


def test_a_damaged_object_is_made_whole_from_the_output_beside_it(
    finished: Path, here: Path, campaign: Campaign
) -> None:
    known = {path: path.read_bytes() for path in objects()}
    hit = drawn("beside").choice([path for path in known if path.suffix != ".dir"])
    hit.chmod(0o644)
    hit.write_bytes(b"something else")
    assert "was damaged" in mended()
    assert {path: path.read_bytes() for path in objects()} == known
    assert state(here) == state(finished)
    campaign.note("object of DVC's cache overwritten", "DVC")


@pytest.mark.parametrize("number", rounds(1, 3))
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_torn_lock_file_is_had_again(
    finished: Path, here: Path, campaign: Campaign, damage: str, number: int
) -> None:
    DAMAGES[damage](Path("dvc.lock"), drawn("dvc.lock", damage, number))
    mended()
    said = repro()
    assert "Running stage" not in said
    assert state(here) == state(finished)
    campaign.note(f"dvc.lock {damage}", "DVC")


def test_a_lock_file_torn_in_the_name_of_a_hash_is_had_again(finished: Path, here: Path, campaign: Campaign) -> None:
    """What is left is valid: DVC reads it, and stops with a traceback where it compares."""
    lock = Path("dvc.lock")
    whole = lock.read_bytes()
    lock.write_bytes(whole[: whole.rindex(b"hash: md5") + len("hash: m")])
    assert "dvc.lock: cannot be read" in mended()
    assert "Running stage" not in repro()
    assert state(here) == state(finished)
    campaign.note("dvc.lock truncated", "DVC")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_torn_entry_of_the_run_cache_costs_no_more_than_the_stage(
    finished: Path, here: Path, campaign: Campaign, damage: str
) -> None:
    draw = drawn("run cache", damage)
    entry = draw.choice(sorted(path for path in Path(".dvc/cache/runs").glob("*/*/*") if path.is_file()))
    DAMAGES[damage](entry, draw)
    Path("dvc.lock").unlink()
    remove_outputs()
    mended()
    repro()
    assert state(here) == state(finished)
    campaign.note(f"run cache {damage}", "DVC")


STALE_LOCKS = {
    "torn": '{"write": {"/some',
    "empty": "",
    "of a dead process": '{"write": {"%s/models": {"pid": 4194000, "cmd": "dvc repro"}}, "read": {}}',
    "of a number used again": '{"write": {"%s/models": {"pid": 1, "cmd": "dvc repro"}}, "read": {}}',
    "read, of a number used again": '{"write": {}, "read": {"%s/data.txt": [{"pid": 1, "cmd": "dvc repro"}]}}',
}


@pytest.mark.parametrize("how", STALE_LOCKS)
def test_a_stale_lock_stops_nobody(finished: Path, here: Path, campaign: Campaign, how: str) -> None:
    content = STALE_LOCKS[how]
    mend.RWLOCK.write_text(content % here if "%s" in content else content)
    for name in ("lock", "rwlock.lock"):
        Path(f".dvc/tmp/{name}").write_text("4194000")
    remove_outputs()
    mended()
    repro()
    assert state(here) == state(finished)
    campaign.note(f"stale rwlock, {how}", "DVC")


@pytest.mark.parametrize("year", [1980, 2100])
def test_file_times_of_another_age_change_nothing(finished: Path, here: Path, campaign: Campaign, year: int) -> None:
    second = (year - 1970) * 31_556_952
    for path in here.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, (second, second))
    assert "damaged" not in mended()
    assert "Running stage" not in repro()
    assert state(here) == state(finished)
    campaign.note("the clock jumps (file times)", "DVC")


def test_two_at_once(finished: Path, toy: Path, campaign: Campaign) -> None:
    shutil.copy(finished / "params.yaml", toy)
    argv = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-q"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) for _ in range(2)]
    for process in both:
        process.wait(120)
    mended()
    repro()
    assert state(toy) == state(finished)
    campaign.note("two `dvc repro` at once", "DVC")


@pytest.mark.parametrize("number", rounds(1, 5))
def test_a_killed_repro_goes_on(finished: Path, toy: Path, campaign: Campaign, number: int) -> None:
    """The tree that the flow starts for a stage: guard, DVC, shell, stage. Any of them is killed, or all."""
    draw = drawn("repro", number)
    shutil.copy(finished / "params.yaml", toy)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RNR_STOP_GRACE_SECONDS": "5"}
    argv = [sys.executable, guard.__file__, sys.executable, "-m", "dvc", "--wait-for-lock", "repro"]
    killed = 0
    for _ in range(4 * KILLS):
        Path("hang-" + draw.choice(list(STAGES))).touch()
        run = subprocess.Popen(
            argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(draw.uniform(0.2, 3.0))
        family = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
        if run.poll() is None:
            victim = draw.choice(family)
            victim.kill()
            killed += 1
        # whoever started the guard is gone too, or stops it
        assert run.stdin is not None
        run.stdin.close()
        run.wait(30)
        # a guard that was killed itself cannot stop anything: that is its starter's part
        for left in [process for process in family if process.is_running()] if run.returncode == -9 else []:
            left.kill()
        assert not psutil.wait_procs(family, timeout=10)[1]
        for hanging in toy.glob("hang*"):
            hanging.unlink()
        mended()
        if killed == KILLS:
            break
    repro()
    (lock, outputs), (undisturbed, known) = state(toy), state(finished)
    assert outputs.items() ^ known.items() == set()
    assert lock == undisturbed
    assert not any(json.loads(mend.RWLOCK.read_text()).values())
    campaign.note("SIGKILL at a random moment", "DVC and what it starts", count=killed)
