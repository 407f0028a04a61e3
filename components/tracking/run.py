"""One stage's run: parameters, metrics by step, checkpoints, system metrics, and a note of its id."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components import redaction
from components.tracking import lineage
from components.tracking.store import EXPERIMENT, client, explained, scrub, uri

SIDECARS = Path("work/runs")
# a LoggedModel is a model: what only serves to resume stays in work/
RESUME_ONLY = re.compile(
    r"(^|/)(global_step[^/]*/.*|optimizer[^/]*|scheduler[^/]*|rng_state[^/]*|zero_to_fp32\.py|latest(_universal)?)$"
)
FLUSH_ROWS, FLUSH_SECONDS = 500, 5.0
# MLflow's limits: parameters in one request, characters of a parameter
PARAMS_PER_BATCH, PARAM_CHARACTERS = 100, 6000


class NoRun:
    """Stands in for a run where none is wanted: other ranks, or a machine without MLflow."""

    run_id: str | None = None

    def metrics(self, values: dict[str, float], step: int = 0) -> None: ...
    def checkpoint(self, path: Path, step: int, metrics: dict[str, float], best: bool = False) -> None: ...
    def artifact(self, path: Path) -> None: ...
    def tags(self, values: dict[str, object]) -> None: ...


class StageRun(NoRun):
    """An MLflow run of one stage. A store that fails half-way costs a warning, never a training."""

    def __init__(self, store, run, stage: str, keep: int) -> None:
        self.run_id: str | None = run.info.run_id
        self._store, self._experiment, self._stage, self._keep = store, run.info.experiment_id, stage, keep
        self._buffer: list = []
        self._flushed = time.monotonic()
        self._checkpoints: list[str] = []
        self._best: str | None = None

    @contextlib.contextmanager
    def _tolerant(self, what: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            print(
                f"{self._stage}: MLflow did not take {what}, going on: {scrub(error)[:300]}",
                file=sys.stderr,
                flush=True,
            )

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Numbers at a step. Buffered for a few seconds, so that a training may call this often."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._buffer += [Metric(name, float(value), now, step) for name, value in values.items()]
        if len(self._buffer) >= FLUSH_ROWS or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send what is buffered; what the store refuses is kept for the next time."""
        self._flushed = time.monotonic()
        with self._tolerant(f"{len(self._buffer)} metric values"):
            while self._buffer:
                self._store.log_batch(self.run_id, metrics=self._buffer[:FLUSH_ROWS])
                del self._buffer[:FLUSH_ROWS]

    def checkpoint(self, path: Path, step: int, metrics: dict[str, float], best: bool = False) -> None:
        """The file or folder `path` as a LoggedModel with its step and metrics; old ones go, the best stays."""
        self.flush()
        with self._tolerant(f"the checkpoint of step {step}"):
            self._log_checkpoint(Path(path), step, metrics, best)

    def _log_checkpoint(self, path: Path, step: int, metrics: dict[str, float], best: bool) -> None:
        from mlflow.entities import LoggedModelOutput, Metric

        tags = {"stage": self._stage, "step": str(step), "best": str(best).lower()}
        model = self._store.create_logged_model(
            self._experiment, f"{self._stage}-{step}", self.run_id, tags=tags, model_type="checkpoint"
        )
        try:
            for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
                inside = file.relative_to(path if path.is_dir() else path.parent)
                if not RESUME_ONLY.search(inside.as_posix()):
                    folder = inside.parent.as_posix()
                    self._store.log_model_artifact(model.model_id, str(file), None if folder == "." else folder)
        except BaseException:
            self._store.finalize_logged_model(model.model_id, "FAILED")
            raise
        self._store.finalize_logged_model(model.model_id, "READY")
        self._store.log_outputs(self.run_id, [LoggedModelOutput(model.model_id, step)])
        now = int(time.time() * 1000)
        rows = [Metric(k, float(v), now, step, model_id=model.model_id, run_id=self.run_id) for k, v in metrics.items()]
        if rows:
            self._store.log_batch(self.run_id, metrics=rows)
        self._checkpoints.append(model.model_id)
        if best:
            if self._best:
                self._store.set_logged_model_tags(self._best, {"best": "false"})
            self._best = model.model_id
        # [:-0] would be empty, and keeping none still keeps the best
        old = self._checkpoints[: max(0, len(self._checkpoints) - self._keep)]
        for model_id in [m for m in old if m != self._best]:
            self._delete_checkpoint(model_id)
            self._checkpoints.remove(model_id)

    def _delete_checkpoint(self, model_id: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        # MLflow's own deletion leaves the bytes until somebody runs `mlflow gc`
        get_artifact_repository(self._store.get_logged_model(model_id).artifact_location).delete_artifacts()
        self._store.delete_logged_model(model_id)

    def artifact(self, path: Path) -> None:
        """A file, or a folder with all that is in it."""
        with self._tolerant(f"the artifact {path}"):
            if Path(path).is_dir():
                self._store.log_artifacts(self.run_id, str(path), Path(path).name)
            else:
                self._store.log_artifact(self.run_id, str(path))

    def tags(self, values: dict[str, object]) -> None:
        """Words about the run."""
        with self._tolerant("tags"):
            for name, value in values.items():
                self._store.set_tag(self.run_id, name, redaction.redact(value))

    def describe(self, params: dict, digests: dict[str, str]) -> None:
        """What the run starts from: parameters, code version, digests of its data (path -> digest)."""
        from mlflow.entities import Dataset, DatasetInput, Param, RunTag

        rows = [Param(key, redaction.redact(value)[:PARAM_CHARACTERS]) for key, value in flatten(params).items()]
        code = lineage.code_version()
        tags = {"stage": self._stage, **code}
        if code["git_sha"] != "none":
            tags["mlflow.source.git.commit"] = code["git_sha"]
        tags |= {f"data.{path}": digest for path, digest in digests.items()}
        with self._tolerant("parameters and tags"):
            self._store.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
            for first in range(0, len(rows), PARAMS_PER_BATCH):
                self._store.log_batch(self.run_id, params=rows[first : first + PARAMS_PER_BATCH])
            sets = [Dataset(path, digest[:36], "local", json.dumps({"uri": path})) for path, digest in digests.items()]
            self._store.log_inputs(self.run_id, [DatasetInput(dataset) for dataset in sets])


def flatten(values: dict, prefix: str = "") -> dict[str, str]:
    """{"a": {"b": [1]}} as {"a.b": "[1]"}."""
    rows: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            rows |= flatten(value, f"{prefix}{key}.")
        else:
            rows[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return rows


@contextlib.contextmanager
def stage_run(
    stage: str, params: dict, keep_checkpoints: int = 2, digests: dict[str, str] | None = None
) -> Iterator[NoRun]:
    """The MLflow run of one stage; joins the run of MLFLOW_RUN_ID (and leaves it open) or makes one.

    `digests` (path -> digest) adds to those of the stage's inputs in dvc.lock. Yields an object that ignores all
    calls on ranks other than 0 and, after one warning line, where MLflow is not installed. Raises TrackingError
    when the store cannot be opened; trouble after that is a warning. A stage that ends well leaves its run id in
    work/runs/<stage>.json, so that a flow that skips the stage can link to it.
    """
    redaction.install()
    if os.environ.get("RANK", "0") != "0":
        yield NoRun()
        return
    if importlib.util.find_spec("mlflow") is None:
        print(f"{stage}: mlflow is not installed, nothing is tracked", file=sys.stderr, flush=True)
        yield NoRun()
        return
    store, joined = client(), os.environ.get("MLFLOW_RUN_ID", "")
    with explained(f"open the run of stage {stage}"):
        if joined:
            record = store.get_run(joined)
        else:
            record = store.create_run(store.get_experiment_by_name(EXPERIMENT).experiment_id, run_name=stage)
    run = StageRun(store, record, stage, keep_checkpoints)
    run.describe(params, lineage.input_digests(stage) | (digests or {}))
    monitor = _system_metrics(record.info.run_id)
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        run.flush()
        if monitor:
            monitor.finish()
        if not joined:
            with run._tolerant("the end of the run"):
                store.set_terminated(run.run_id, status)
    remember_run(stage, record.info.run_id)


def _system_metrics(run_id: str) -> Any:
    """Processor, memory, disk, network and GPU of this machine, every ten seconds."""
    if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true").lower() in ("false", "0"):
        return None
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=uri())
    monitor.start()
    return monitor


def remember_run(stage: str, run_id: str) -> None:
    """Note the run that last made the outputs of `stage`."""
    SIDECARS.mkdir(parents=True, exist_ok=True)
    part = SIDECARS / f".{stage}.{os.getpid()}"
    part.write_text(json.dumps({"run_id": run_id, "stage": stage, "store": scrub(uri())}) + "\n", encoding="utf-8")
    os.replace(part, SIDECARS / f"{stage}.json")


def last_run(stage: str) -> str | None:
    """The run that last made the outputs of `stage`, or None."""
    try:
        return json.loads((SIDECARS / f"{stage}.json").read_text(encoding="utf-8"))["run_id"]
    except (FileNotFoundError, ValueError, KeyError):
        return None
