"""One DVC stage as a Prefect task: its lines in the log, its run in MLflow, its process tree under control."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from components import params, redaction, tracking
from flows import guard, parent_run
from flows.dvc_graph import Stage

Outcome = Literal["executed", "restored", "skipped"]
# what DVC itself says; the reason why a stage failed stands in the stage's lines before
DVC_VERDICT = re.compile(r"^ERROR: (failed to reproduce|failed to run)")


class FlowParams(params.Section):
    """Section `flow`. `min_free_disk_gb` is in 10^9 bytes and checked before anything starts."""

    parallelism: int = Field(ge=1)
    retries: int = Field(ge=0)
    retry_delay_s: int = Field(ge=0)
    min_free_disk_gb: float = Field(ge=0)


class StageFailed(RuntimeError):
    """A stage ended badly; the line names it and gives its last words."""


class Stopped(StageFailed):
    """The flow is being stopped: no retry."""


@dataclass(frozen=True)
class StageResult:
    """`outcome`: executed, restored (from DVC's run cache) or skipped (unchanged). `run_id`: the MLflow run that made
    the stage's outputs, now or earlier; None if unknown."""

    name: str
    outcome: Outcome
    seconds: float
    run_id: str | None


class Children:
    """The process trees of this flow, so that all can be stopped at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen] = set()
        self.stopping = False

    def start(self, argv: list[str], environment: dict[str, str]) -> subprocess.Popen:
        """A guarded command in a process group of its own. Raises Stopped when the flow is being stopped."""
        with self._lock:
            if self.stopping:
                raise Stopped("the flow is being stopped")
            child = subprocess.Popen(
                [sys.executable, guard.__file__, *argv],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
                errors="replace",
            )
            self._running.add(child)
            return child

    def ended(self, child: subprocess.Popen) -> None:
        with self._lock:
            self._running.discard(child)

    def stop(self) -> None:
        """End every tree and wait until it is gone; nothing starts afterwards."""
        with self._lock:
            self.stopping = True
            running = list(self._running)
        for child in running:
            close_stdin(child)
        for child in running:
            child.wait(timeout=guard.GRACE_SECONDS + 10)


def close_stdin(child: subprocess.Popen) -> None:
    """The sign for the guard to stop its tree."""
    if child.stdin:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()


def stage_environment(run_id: str, threads: int) -> dict[str, str]:
    """This interpreter's tools first in PATH, the run to join, and the stage's share of the cores."""
    environment = {
        **os.environ,
        "MLFLOW_RUN_ID": run_id,
        "MLFLOW_TRACKING_URI": tracking.uri(),
        "PYTHONUNBUFFERED": "1",
    }
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    # two torch processes with all cores each run ten times slower than one; a user's own setting wins
    environment.setdefault("OMP_NUM_THREADS", str(threads))
    return environment


def run_dvc(
    words: list[str], children: Children, environment: dict[str, str], say: Callable[[str], None], what: str = ""
) -> list[str]:
    """Run `dvc WORDS`; every line goes to `say`. Returns the lines; raises StageFailed, with `what` as its subject."""
    what = what or f"dvc {words[0]}"
    child = children.start([sys.executable, "-m", "dvc", "--wait-for-lock", *words], environment)
    lines: list[str] = []
    try:
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(redaction.redact(line.rstrip()))
            if lines[-1]:
                say(lines[-1])
        code = child.wait()
    except BaseException:
        close_stdin(child)
        raise
    finally:
        children.ended(child)
    if children.stopping:
        raise Stopped(f"{what} was stopped")
    if code:
        raise StageFailed(f"{what} failed (exit code {code}): {last_words(lines)}")
    return lines


def repro(stage: str, children: Children, environment: dict[str, str], say: Callable[[str], None]) -> list[str]:
    """Run `dvc repro` on this one stage. Returns the lines; raises StageFailed."""
    return run_dvc(["repro", "--single-item", stage], children, environment, say, f"stage {stage}")


def last_words(lines: list[str]) -> str:
    """The last line of a failed stage that is its own and not DVC's verdict on it."""
    said = [line.strip() for line in lines if line.strip()]
    own = [line for line in said if not DVC_VERDICT.match(line)]
    return (own or said or ["it said nothing"])[-1]


def outcome_of(stage: str, lines: list[str]) -> Outcome:
    """What `dvc repro` did, from its own words (held by a contract test)."""
    if any(line.startswith(f"Running stage '{stage}'") for line in lines):
        return "executed"
    return "restored" if any(f"Stage '{stage}' is cached" in line for line in lines) else "skipped"


def metrics_table(stage: Stage) -> list[dict[str, object]]:
    """The numbers in the stage's metric files, nested keys joined by dots."""
    rows: list[dict[str, object]] = []

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        elif isinstance(value, (int, float, str)):
            rows.append({"metric": prefix, "value": value})

    for path in stage.metrics:
        if path.endswith(".json") and Path(path).exists():
            walk("", json.loads(Path(path).read_text(encoding="utf-8")))
    return rows


def publish_metrics(stage: Stage) -> None:
    """The stage's numbers as a Prefect artifact `metrics-<stage>`."""
    if rows := metrics_table(stage):
        key = "metrics-" + re.sub("[^a-z0-9]+", "-", stage.name.lower()).strip("-")
        create_table_artifact(key=key, table=rows, description=f"Metrics of stage {stage.name}")


@task(cache_policy=NO_CACHE, task_run_name="{stage.name}")
def run_stage(stage: Stage, parent: str, children: Children, threads: int, unchanged: bool) -> StageResult:
    """Bring one stage up to date. `unchanged`: DVC said so at the start and nothing ran upstream since.

    Raises StageFailed.
    """
    logger = get_run_logger()
    if unchanged:
        logger.info("unchanged, skipped")
        made_by = tracking.last_run(stage.name)
        parent_run.link(parent, stage.name, "skipped", made_by)
        return StageResult(stage.name, "skipped", 0.0, made_by)
    started = time.monotonic()
    run_id: str | None = parent_run.start_child(parent, stage.name)
    assert run_id is not None
    try:
        lines = repro(stage.name, children, stage_environment(run_id, threads), logger.info)
    except BaseException as error:
        parent_run.end(run_id, "FAILED" if type(error) is StageFailed else "KILLED")
        raise
    outcome = outcome_of(stage.name, lines)
    if outcome == "executed":
        parent_run.end(run_id, "FINISHED")
        if tracking.last_run(stage.name) != run_id:
            # a stage that logs nothing itself
            tracking.remember_run(stage.name, run_id)
    else:
        parent_run.drop(run_id)
        run_id = tracking.last_run(stage.name)
    parent_run.link(parent, stage.name, outcome, run_id)
    publish_metrics(stage)
    return StageResult(stage.name, outcome, round(time.monotonic() - started, 2), run_id)


class WithoutTraceback(logging.Filter):
    """Prefect prints the traceback of a failed task; for a failed stage its line says all."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
        if kind and issubclass(kind, StageFailed):
            record.exc_info = record.exc_text = None
        return True


def one_line_failures() -> None:
    """Install WithoutTraceback where Prefect reports failures."""
    for name in ("prefect.task_runs", "prefect.flow_runs"):
        log = logging.getLogger(name)
        if not any(isinstance(known, WithoutTraceback) for known in log.filters):
            log.addFilter(WithoutTraceback())
