"""The servers of a team die, stand still and come back while stages and flows are at work.

    pytest -m faults tests/faults/test_servers.py

PostgreSQL, MLflow and Prefect are real, as in tests/operations; the flow works on the toy repository.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from components import tracking
from tests.faults.campaign import Campaign, drawn
from tests.faults.stages import Bench
from tests.faults.test_disk import assert_one_line
from tests.faults.test_dvc_files import finished, state
from tests.flows.conftest import toy, toy_seed
from tests.flows.test_process import RUN
from tests.operations.services import answers, bare_environment, end_tree, eventually, free_port, postgres
from tests.tiny import REPOSITORY

__all__ = ["finished", "toy", "toy_seed"]  # fixtures
pytestmark = pytest.mark.faults
STAGE = "train_restorer"


class Server:
    """A server that is killed and started again at the same address."""

    def __init__(self, argv: list[str], environment: dict[str, str], health: str, log: Path) -> None:
        self.argv, self.environment, self.health, self.log = argv, environment, health, log
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        with open(self.log, "a", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                self.argv, env=self.environment, stdout=out, stderr=out, cwd=self.log.parent
            )
        eventually(self.argv[2], lambda: answers(self.health))

    def family(self) -> list[psutil.Process]:
        assert self.process is not None
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def signal(self, number: signal.Signals) -> None:
        """To the server and its workers."""
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def restart(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(20)
        self.start()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            end_tree(self.process)


@dataclass
class Stack:
    """`restart_database`: as `systemctl restart` does it, connections are cut."""

    mlflow: Server
    prefect: Server
    restart_database: Callable[[], None]

    @property
    def tracking_uri(self) -> str:
        return self.mlflow.health.removesuffix("/health")

    @property
    def api(self) -> str:
        return self.prefect.health.removesuffix("/health")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    place, base = tmp_path_factory.mktemp("servers"), {**bare_environment(), "PYTHONPATH": str(REPOSITORY)}
    ports = free_port(), free_port()
    with postgres() as database:
        argv = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(ports[0])]
        argv += ["--workers", "1", "--artifacts-destination", str(place / "artifacts")]
        environment = {**base, "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://{database}/mlflow"}
        mlflow = Server(argv, environment, f"http://127.0.0.1:{ports[0]}/health", place / "mlflow.log")
        argv = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(ports[1])]
        environment = {**base, "PREFECT_HOME": str(place / "prefect")}
        environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"postgresql+asyncpg://{database}/prefect"
        prefect = Server(argv, environment, f"http://127.0.0.1:{ports[1]}/api/health", place / "prefect.log")
        port = int(database.rpartition(":")[2])
        try:
            mlflow.start()
            prefect.start()
            yield Stack(mlflow, prefect, lambda: restart_postgres(port))
        finally:
            mlflow.end()
            prefect.end()


def restart_postgres(port: int) -> None:
    """`pg_ctl restart` on whatever server listens at a port of ours."""
    (folder,) = [
        Path(process.info["cmdline"][2])
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [""])[0].endswith("postgres") and str(port) in process.info["cmdline"]
    ]
    owner = "postgres" if os.getuid() == 0 else None
    argv = [
        "pg_ctl",
        "-D",
        str(folder),
        "-m",
        "immediate",
        "-w",
        "-t",
        "60",
        "-l",
        str(folder.parent / "log"),
        "restart",
    ]
    subprocess.run(argv, check=True, capture_output=True, user=owner, cwd=folder.parent)


def stand_still(server: Server, seconds: float) -> None:
    server.signal(signal.SIGSTOP)
    time.sleep(seconds)
    server.signal(signal.SIGCONT)


FAULTS: dict[str, Callable[[Stack], None]] = {
    "PostgreSQL restarted": lambda stack: stack.restart_database(),
    "MLflow server killed and back": lambda stack: stack.mlflow.restart(),
    "MLflow server stands still for 4 s": lambda stack: stand_still(stack.mlflow, 4),
}


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("fault", FAULTS)
def test_a_training_outlives_its_store(
    bench: Bench, stack: Stack, campaign: Campaign, tmp_path: Path, fault: str, number: int
) -> None:
    folder = bench.folder(STAGE, tmp_path / "here")
    where = {"MLFLOW_TRACKING_URI": stack.tracking_uri, "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    run = bench.start(STAGE, folder, variables=where)
    run.wait(drawn(fault, number).uniform(0.1, 0.9) * bench.seconds[STAGE])
    FAULTS[fault](stack)
    if run.wait() != 0:
        # only before its first step may it give up, in one line
        assert_one_line(run)
        assert not bench.outputs(STAGE, folder)
        bench.finish(STAGE, folder, variables=where)
    bench.assert_done(STAGE, folder)
    bench.assert_no_orphan()
    campaign.note(fault, STAGE)


def flow(folder: Path, stack: Stack) -> subprocess.Popen:
    """`rnr run` on the toy repository, against the server."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"PYTHONPATH": str(REPOSITORY), "RNR_STOP_GRACE_SECONDS": "5", "PREFECT_API_URL": stack.api}
    environment |= {"PREFECT_HOME": str(folder / "work/prefect"), "RNR_PROMOTION_LEASE_SECONDS": "6"}
    with open(folder / "said", "a", encoding="utf-8") as said:
        argv = [sys.executable, "-c", RUN]
        return subprocess.Popen(argv, cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True)


def champion() -> str | None:
    found = tracking.client().search_registered_models(f"name = '{tracking.MODEL_NAME}'")
    version = found[0].aliases.get("champion") if found else None
    return None if version is None else str(version)  # MLflow's database gives a number, its client's type says text


@pytest.fixture
def served(toy: Path, stack: Stack, finished: Path) -> Path:
    """The toy with a champion, and a change that the next flow has to carry through."""
    assert flow(toy, stack).wait(300) == 0, (toy / "said").read_text()[-3000:]
    assert champion() == "1"
    Path("data.txt").write_text("more\n")
    return toy


@pytest.fixture(scope="module")
def carried_through(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outputs after that change, undisturbed."""
    place = tmp_path_factory.mktemp("through") / "toy"
    shutil.copytree(finished, place)
    (place / "data.txt").write_text("more\n")
    subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "-q"], cwd=place, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return outputs(place)


def outputs(folder: Path) -> dict[str, str]:
    """Without the seconds of the stages, and what the flow alone writes: the photos it saw in the sources."""
    digests = state(folder)[1]
    return {name: it for name, it in digests.items() if not name.startswith("metrics/") and name != "data/sources.json"}


def finish(served: Path, stack: Stack, carried_through: dict[str, str]) -> None:
    again = flow(served, stack)
    assert again.wait(300) == 0, (served / "said").read_text()[-3000:]
    assert outputs(served) == carried_through
    assert champion() == "2"


@pytest.mark.parametrize("number", range(3))
def test_a_killed_flow_goes_on(
    served: Path, stack: Stack, carried_through: dict[str, str], campaign: Campaign, number: int
) -> None:
    draw = drawn("flow", number)
    for _ in range(2):
        run = flow(served, stack)
        time.sleep(draw.uniform(2.0, 12.0))
        family = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
        ended = run.poll() is not None
        run.kill()
        run.wait(20)
        assert not psutil.wait_procs(family, timeout=15)[1]
        assert champion() == "1" or ended or "promoted" in (served / "said").read_text()
        campaign.note("SIGKILL at a random moment", "flow", count=int(not ended))
    finish(served, stack, carried_through)


SERVER_FAULTS: dict[str, Callable[[Stack], None]] = {
    "Prefect server killed and back": lambda stack: stack.prefect.restart(),
    "Prefect server stands still for 5 s": lambda stack: stand_still(stack.prefect, 5),
    "PostgreSQL restarted": lambda stack: stack.restart_database(),
}


@pytest.mark.parametrize("fault", SERVER_FAULTS)
def test_a_flow_outlives_its_server_or_is_started_again(
    served: Path, stack: Stack, carried_through: dict[str, str], campaign: Campaign, fault: str
) -> None:
    run = flow(served, stack)
    time.sleep(drawn("flow", fault).uniform(3.0, 9.0))
    SERVER_FAULTS[fault](stack)
    code = run.wait(300)
    assert code == 0 or champion() == "1"
    finish(served, stack, carried_through)
    campaign.note(fault, "flow")


def test_two_flows_at_once(served: Path, stack: Stack, carried_through: dict[str, str], campaign: Campaign) -> None:
    both = [flow(served, stack), flow(served, stack)]
    assert sorted(run.wait(300) for run in both) == [0, 1]
    assert "another run is at work in" in (served / "said").read_text()
    finish(served, stack, carried_through)
    campaign.note("two flows at once", "flow")
