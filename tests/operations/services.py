"""A team's servers as plain processes: PostgreSQL, an S3 store, MLflow, Prefect, a worker.

The commands are those of docker/compose.yaml; addresses and passwords go through the environment, as there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.tiny import REPOSITORY

PASSWORD, TOKEN = "postgres-word-of-the-test", "team:prefect-word-of-the-test"
KEY, SECRET = "s3-key-of-the-test", "s3-secret-of-the-test"
REGION, BUCKET = "us-east-1", "team"
# what nothing here needs, but a member has it in his environment
CANARIES = {
    "RNR_TEACHER_API_KEY": "teacher-canary-of-the-test",
    "OPENAI_API_KEY": "sk-openai-canary-of-the-test",
    "AWS_SESSION_PASSWORD": "aws-session-canary-of-the-test",
    "TEAM_DATABASE_URL": "postgresql://team:address-canary-of-the-test@db.invalid:5432/team",
}
# all secrets of the team, none of which may lie anywhere after a run
SECRETS = (PASSWORD, TOKEN.partition(":")[2], SECRET, "address-canary-of-the-test", *list(CANARIES.values())[:3])
# other work on the machine may slow a start by an order of magnitude
PATIENCE_S = 300.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(what: str, holds: Callable[[], bool], seconds: float = PATIENCE_S, pause: float = 0.3) -> None:
    """Wait until `holds()`; AssertionError with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(pause)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code in (401, 403, 404)
    except OSError:
        return False


def end_tree(process: subprocess.Popen, how: signal.Signals = signal.SIGTERM) -> None:
    """End a process and all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(how)
        _, alive = psutil.wait_procs(family, timeout=20)
        for left in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
    process.wait(timeout=20)


@contextlib.contextmanager
def started(argv: list[str], environment: dict[str, str], log: Path, folder: Path) -> Iterator[subprocess.Popen]:
    """A process with its lines in `log`; its tree is ended at exit."""
    with open(log, "a", encoding="utf-8") as out:
        process = subprocess.Popen(argv, cwd=folder, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        end_tree(process)


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Debian's PostgreSQL with databases mlflow and prefect; yields user:password@host:port."""
    # as root it refuses to run; its folder must be reachable for whom it runs as
    owner = "postgres" if os.getuid() == 0 else None
    place = Path(tempfile.mkdtemp(prefix="rnr-postgres-"))
    port = free_port()
    try:
        (place / "password").write_text(PASSWORD)
        if owner:
            for path in (place, place / "password"):
                shutil.chown(path, owner, owner)
        data, environment = place / "data", {**os.environ, "PGPASSWORD": PASSWORD}

        def run(*argv: str) -> None:
            subprocess.run(argv, check=True, cwd=place, capture_output=True, user=owner, env=environment)

        run("initdb", "-D", str(data), "-U", "team", "--auth=scram-sha-256", f"--pwfile={place / 'password'}")
        settings = f"-p {port} -h 127.0.0.1 -k {place} -c fsync=off -c max_connections=200"
        run("pg_ctl", "-D", str(data), "-w", "-t", "120", "-l", str(place / "log"), "-o", settings, "start")
        try:
            for name in ("mlflow", "prefect"):
                run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "team", name)
            yield f"team:{PASSWORD}@127.0.0.1:{port}"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(place, ignore_errors=True)


@dataclass(frozen=True)
class Team:
    """`environment`: all that a member of the team sets; `place`: logs and what servers keep on their disk;
    `database`: user:password@host:port of PostgreSQL."""

    environment: dict[str, str]
    place: Path
    database: str

    def worker(self, clone: Path, log: str = "worker.log"):
        """`rnr worker` in a clone, as a context manager."""
        argv = [sys.executable, "-m", "rnr.cli", "worker", "--name", clone.name]
        return started(argv, self.member(clone), self.place / log, clone)

    def member(self, clone: Path) -> dict[str, str]:
        return {**self.environment, "PYTHONPATH": str(clone), "PREFECT_HOME": str(self.place / "prefect-home")}

    def run(self, clone: Path, *argv: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """A command in a clone as a member of the team types it."""
        done = subprocess.run(argv, cwd=clone, env=self.member(clone), capture_output=True, text=True, check=False)
        assert done.returncode == expect, f"{argv}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done


def bare_environment() -> dict[str, str]:
    """The caller's environment without anything that names a server."""
    dropped = ("AWS_", "MLFLOW_", "PREFECT_", "RNR_", "DVC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    paths = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
    return {"OMP_NUM_THREADS": "2", **kept, **quiet, "PATH": paths, "NO_PROXY": "127.0.0.1,localhost"}


@contextlib.contextmanager
def team(place: Path) -> Iterator[Team]:
    """All servers of compose.yaml, started in its order."""
    base = {**bare_environment(), "PYTHONPATH": str(REPOSITORY)}
    s3, mlflow, prefect = free_port(), free_port(), free_port()
    store = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgres())
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(s3)]
        stack.enter_context(started(argv, {**base, "AWS_DEFAULT_REGION": REGION}, place / "s3.log", place))
        eventually("the S3 store", lambda: answers(f"http://127.0.0.1:{s3}"))
        make_bucket(store)
        argv = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(mlflow)]
        argv += ["--workers", "2", "--artifacts-destination", f"s3://{BUCKET}/mlflow"]
        argv += ["--allowed-hosts", f"127.0.0.1:{mlflow}"]
        server = {**base, **store, "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://{database}/mlflow"}
        stack.enter_context(started(argv, server, place / "mlflow.log", place))
        argv = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(prefect)]
        leases = "prefect.server.concurrency.lease_storage.filesystem"
        server = {
            **base,
            "PREFECT_HOME": str(place / "prefect-server"),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{database}/prefect",
            "PREFECT_SERVER_API_AUTH_STRING": TOKEN,
            "PREFECT_API_AUTH_STRING": TOKEN,
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": leases,
        }
        stack.enter_context(started(argv, server, place / "prefect.log", place))
        eventually("MLflow", lambda: answers(f"http://127.0.0.1:{mlflow}/health"))
        eventually("Prefect", lambda: answers(f"http://127.0.0.1:{prefect}/api/health"))
        member = {
            **base,
            **store,
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
            "PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api",
            "PREFECT_API_AUTH_STRING": TOKEN,
            "RNR_DVC_REMOTE": f"s3://{BUCKET}/dvc",
            "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
            **CANARIES,
        }
        yield Team(member, place, database)


def remains(team: Team, *clones: Path) -> Iterator[tuple[str, bytes]]:
    """All that lies anywhere, and where: files of clones (.git too) and servers, S3 objects, dumps of databases."""
    for top in (team.place, *clones):
        for path in sorted(top.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield str(path), path.read_bytes()
    store = s3_client(team.environment)
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for item in page.get("Contents", ()):
            yield f"s3://{BUCKET}/{item['Key']}", store.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
    for name in ("mlflow", "prefect"):
        argv = ["pg_dump", f"postgresql://{team.database}/{name}"]
        yield f"database {name}", subprocess.run(argv, check=True, capture_output=True).stdout


def make_bucket(store: dict[str, str]) -> None:
    s3_client(store).create_bucket(Bucket=BUCKET)


def s3_client(environment: dict[str, str]):
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )
