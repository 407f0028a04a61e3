"""A disk that is full or may only be read, under every stage: one clear line, and the rerun as if nothing had been.

    pytest -m quick_faults tests/faults/test_disk.py

The disks are small tmpfs mounts, which need root; without it the limit on a file's size stands in for the full one.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, drawn, some
from tests.faults.stages import Bench, Run
from tests.faults.test_kills import STAGES_BUT_REASONER

ROOMY = "size=256m"


def mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0


def remount(disk: Path, options: str) -> None:
    # multiprocessing's tracker ends a moment after the stage, whose log it holds
    end = time.monotonic() + 10
    while not mount("-o", f"remount,{options}", str(disk)):
        assert time.monotonic() < end, f"{disk} is busy"
        time.sleep(0.1)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.getuid() or not mount("-t", "tmpfs", "-o", ROOMY, "tmpfs", str(place)):
        pytest.skip("mounting a file system needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def used(disk: Path) -> int:
    """Bytes in use."""
    facts = os.statvfs(disk)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


def assert_one_line(run: Run) -> None:
    """The stage failed, and says why without a traceback."""
    assert run.wait() not in (0, None), run.said()
    assert "Traceback" not in run.said(), run.said()[-3000:]


@pytest.mark.parametrize("stage", STAGES_BUT_REASONER)
def test_a_read_only_and_a_full_disk(bench: Bench, campaign: Campaign, disk: Path, stage: str) -> None:
    folder = bench.folder(stage, disk / "here")
    bench.finish(stage, folder)
    needed = used(disk)
    bench.forget(stage, folder)
    free = used(disk)
    remount(disk, "ro")
    # the log and the store of the runs lie beside the folder, on this disk: they go elsewhere
    with_log = bench.start(stage, folder, log=disk.parent / "log", store=disk.parent / "runs.db")
    assert_one_line(with_log)
    remount(disk, "rw")
    assert not bench.outputs(stage, folder)
    campaign.note("read-only folder", stage)
    room = int((needed - free) * drawn("full", stage).uniform(0.0, 0.6))
    remount(disk, f"size={free + room}")
    run = bench.start(stage, folder, log=disk.parent / "log", store=disk.parent / "runs.db")
    assert_one_line(run)
    bench.assert_no_orphan()
    bench.assert_nothing_half(stage, folder)
    remount(disk, ROOMY)
    bench.finish(stage, folder)
    bench.assert_done(stage, folder)
    campaign.note("full disk", stage)


@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("stage", some(STAGES_BUT_REASONER, ()))
def test_a_file_may_not_grow(bench: Bench, campaign: Campaign, tmp_path: Path, stage: str, number: int) -> None:
    folder = bench.folder(stage, tmp_path / "here")
    sizes = [path.stat().st_size for path in bench.written(stage)]
    limit = max(1, int(max(sizes) * drawn("limit", stage, number).uniform(0.1, 0.9)))
    assert_one_line(bench.start(stage, folder, file_bytes=limit))
    bench.assert_no_orphan()
    bench.assert_nothing_half(stage, folder)
    bench.finish(stage, folder)
    bench.assert_done(stage, folder)
    campaign.note("no room for a file (RLIMIT_FSIZE)", stage)
