"""The flow as the person has it: a process of its own that starts its own Prefect server.

pytest -m slow tests/flows/test_process.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from components import tracking
from flows import retrain
from tests.flows.test_retrain import wait_for

pytestmark = pytest.mark.slow

# the toy has neither all sections of params.yaml nor models that can restore
RUN = """
import sys
from flows import preflight, retrain
from components.promotion import promote
from components.promotion.gate import Smoke
from tests.flows.toy import metrics

preflight.check_params = lambda path="params.yaml": None
promote.measure = lambda folder: metrics(25.0)
promote.smoke_test = lambda folder, timeout: Smoke(1.0)
sys.exit(retrain.main())
"""


def start(toy: Path) -> subprocess.Popen:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"PYTHONPATH": str(Path(retrain.__file__).resolve().parents[1]), "RNR_STOP_GRACE_SECONDS": "5"}
    # a file: after `kill -9` Prefect's orphaned server would hold a pipe open
    with open("said", "w", encoding="utf-8") as said:
        return subprocess.Popen([sys.executable, "-c", RUN], env=environment, stdout=said, stderr=subprocess.STDOUT)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_leaves_nothing_behind_and_the_next_goes_on(toy: Path, how: signal.Signals) -> None:
    Path("hang-left").touch()
    flow = start(toy)
    hanging = psutil.Process(wait_for(Path("hanging"), 120))
    family = psutil.Process(flow.pid).children(recursive=True)
    flow.send_signal(how)
    flow.wait(timeout=60)
    hanging.wait(timeout=15)
    store = tracking.client()
    experiment = store.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    states = {run.info.run_name: run.info.status for run in store.search_runs([experiment])}
    if how == signal.SIGTERM:
        assert flow.returncode == 1
        assert "retrain: stopped; start it again to go on" in Path("said").read_text(encoding="utf-8")
        assert states == {"retrain": "KILLED", "mix": "FINISHED", "left": "KILLED"}
        assert not psutil.wait_procs(family, timeout=10)[1]
    else:
        # nobody can stop Prefect's own temporary server after `kill -9` but us
        for process in psutil.wait_procs(family, timeout=5)[1]:
            assert "prefect.server" in " ".join(process.cmdline())
            process.kill()
    Path("hang-left").unlink()
    again = start(toy)
    again.wait(timeout=180)
    said = Path("said").read_text(encoding="utf-8")
    assert again.returncode == 0, said
    assert "mix: skipped" in said
    assert "left: executed" in said
    assert "version 1: promoted" in said
