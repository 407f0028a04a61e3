"""The store behind MLFLOW_TRACKING_URI: opened once, safely, with errors of one line and no credentials."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components import redaction

EXPERIMENT = "reason-and-restore"
DEFAULT_URI = "sqlite:///mlflow.db"
TELEMETRY = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "false",
}
_ready: set[str] = set()
_preparing = threading.Lock()


class TrackingError(RuntimeError):
    """MLflow cannot be used as asked; the message is one line for the user, without credentials."""


class NoSuchModel(TrackingError):
    """The registry has no such model; the line says what is missing and which command makes it."""


def telemetry_off() -> None:
    """No library reports home, unless the user set its variable otherwise. Call before importing any of them."""
    for name, value in TELEMETRY.items():
        os.environ.setdefault(name, value)


def scrub(text: object) -> str:
    """One line without any secret in it (see components.redaction)."""
    return " ".join(redaction.redact(text).split())


def uri() -> str:
    """The tracking store, SQLite paths made absolute so that a child in another folder finds the same file."""
    given = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or DEFAULT_URI
    file = sqlite_file(given)
    return f"sqlite:///{file}" if file else given


def sqlite_file(address: str) -> Path | None:
    return Path(address.removeprefix("sqlite:///")).absolute() if address.startswith("sqlite:///") else None


@contextlib.contextmanager
def explained(action: str) -> Iterator[None]:
    """MLflow's errors become one TrackingError that says what was being done and where."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise TrackingError(f"MLflow at {scrub(uri())}: cannot {action}: {scrub(error.message)[:500]}") from error


def client() -> Any:
    """An MlflowClient on a store that is ready: schema current, experiment there.

    Raises TrackingError when the store cannot be reached or MLflow is not installed.
    """
    telemetry_off()
    # a model of ours is code and safetensors; one that would be unpickled runs whatever its author liked
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # mlflow looks for git at import and warns at length where there is none
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    try:
        import mlflow
    except ImportError:
        raise TrackingError("mlflow is not installed; install requirements.lock") from None
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # it prints the traceback of what it raises, and what it raises is told in one line
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    address = uri()
    with _preparing:
        if address not in _ready:
            with explained("open the store"):
                _prepare(mlflow, address)
            _ready.add(address)
    return mlflow.MlflowClient(address)


def _prepare(mlflow, address: str) -> None:
    """Two processes that create or upgrade one SQLite file at once corrupt it: hence the lock."""
    file = sqlite_file(address)
    with contextlib.ExitStack() as stack:
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(open(f"{file}.lock", "w", encoding="utf-8")), fcntl.LOCK_EX)
        mlflow.set_tracking_uri(address)
        store = mlflow.MlflowClient(address)
        try:
            experiment = store.get_experiment_by_name(EXPERIMENT)
        except mlflow.exceptions.MlflowException as error:
            # the database of an older MLflow; one that others share is theirs to upgrade
            if not file or "out-of-date database schema" not in str(error):
                raise
            subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", address], check=True, capture_output=True)
            experiment = store.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            # beside the database: the default would be the working directory of whoever comes first
            place = (file.parent / "mlartifacts").as_uri() if file else None
            store.create_experiment(EXPERIMENT, artifact_location=place)
        elif experiment.lifecycle_stage == "deleted":
            store.restore_experiment(experiment.experiment_id)
