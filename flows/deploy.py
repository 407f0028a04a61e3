"""Put the retraining on a Prefect server: work pool, deployments of prefect.yaml, automations for dead runs.

    rnr deploy

Run once, and again after a change of prefect.yaml: it renews what is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from components import tracking
from flows import server

PREFECT_FILE = Path("prefect.yaml")
HOME = "RNR_HOME"


class DeployError(RuntimeError):
    """prefect.yaml cannot be sent to the server; one line."""


@dataclass(frozen=True)
class Deployed:
    """What stands on the server now."""

    server: str
    deployment: str
    pool: str
    automations: tuple[str, ...]


def deploy() -> Deployed:
    """Make or renew everything. Raises ServerError, DeployError."""
    if not PREFECT_FILE.exists():
        raise DeployError(f"{PREFECT_FILE}: not found; run from the top of the repository ({Path.cwd()})")
    server.ensure_pool()
    # with the variable set, Prefect would write this machine's folder into the deployment for all workers
    environment = {name: value for name, value in os.environ.items() if name != HOME}
    environment["PREFECT_API_URL"] = server.address()
    argv = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_FILE)]
    sent = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if sent.returncode:
        said = [line.strip(" │") for line in (sent.stdout + sent.stderr).splitlines() if line.strip(" │╭╮╰╯─")]
        raise DeployError(f"{PREFECT_FILE}: {tracking.scrub(said[-1] if said else 'Prefect said nothing')}")
    return Deployed(
        tracking.scrub(server.address()), server.DEPLOYMENT, server.POOL, tuple(server.ensure_automations())
    )


def worker_argv(name: str | None) -> list[str]:
    """The command of a worker that carries out one run at a time."""
    named = ["--name", name] if name else []
    return [sys.executable, "-m", "prefect", "worker", "start", "--pool", server.POOL, "--limit", "1", *named]


def worker_environment() -> dict[str, str]:
    """This process's environment, with the clone in which runs take place. Raises ServerError without a server."""
    repository = os.environ.get(HOME) or str(Path.cwd())
    if not (Path(repository) / "dvc.yaml").exists():
        raise DeployError(f"{repository}: no dvc.yaml; run from the top of a clone, or set {HOME} to one")
    return {**os.environ, HOME: repository, "PREFECT_API_URL": server.address()}
