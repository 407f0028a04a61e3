"""A helper dies with the process it works for, whenever that one died."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.tiny import environment

# started by the launcher below: says that it is there, waits for a word, ties itself, and says that it lives on
HELPER = """
import sys, time
from pathlib import Path
from components import lifeline
here, stage, early = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "early"
if early:
    lifeline.die_with_parent(parents_parent=stage)
(here / "there").touch()
while not (here / "go").exists():
    time.sleep(0.01)
if not early:
    lifeline.die_with_parent(parents_parent=stage)
(here / "lives").touch()
time.sleep(60)
"""
LAUNCHER = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


@pytest.mark.parametrize("when", ["early", "late"])
@pytest.mark.parametrize("killed", [True, False])
def test_a_helper_lives_as_long_as_its_launcher(tmp_path: Path, when: str, killed: bool) -> None:
    argv = [sys.executable, "-c", LAUNCHER, HELPER, str(tmp_path), str(psutil.Process().pid), when]
    launcher = subprocess.Popen(argv, env=environment())
    try:
        wait_for(lambda: (tmp_path / "there").exists())
        (helper,) = psutil.Process(launcher.pid).children()
        if killed:
            launcher.send_signal(signal.SIGKILL)
            launcher.wait(10)
        (tmp_path / "go").touch()
        if killed:
            wait_for(lambda: not helper.is_running() or helper.status() == psutil.STATUS_ZOMBIE)
            assert not (tmp_path / "lives").exists()
        else:
            wait_for((tmp_path / "lives").exists)
            assert helper.is_running()
    finally:
        for process in psutil.process_iter(["cmdline"]):
            if str(tmp_path) in (process.info["cmdline"] or []):
                process.kill()
        launcher.wait(10)


def wait_for(holds) -> None:
    due = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < due
        time.sleep(0.02)
