"""The MLflow side of a flow run: one parent run, one child per executed stage, links for the skipped ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from components import tracking
from components.tracking import lineage


def _create(name: str, tags: dict[str, str]) -> str:
    store = tracking.client()
    with tracking.explained(f"open the run {name}"):
        experiment = store.get_experiment_by_name(tracking.EXPERIMENT)
        return store.create_run(experiment.experiment_id, tags=tags, run_name=name).info.run_id


def start_parent(name: str) -> str:
    """A run for the whole flow, tagged with the code version. Returns its id; raises TrackingError."""
    lock = lineage.file_digest("dvc.lock") or "none"
    return _create(name, {"kind": "flow", "dvc_lock": lock, **lineage.code_version()})


def start_child(parent: str, stage: str) -> str:
    """A nested run for one stage, handed over in MLFLOW_RUN_ID."""
    return _create(stage, {"mlflow.parentRunId": parent, "stage": stage})


def end(run_id: str, status: str) -> None:
    """`status`: FINISHED, FAILED or KILLED."""
    with tracking.explained("end a run"):
        tracking.client().set_terminated(run_id, status)


def drop(run_id: str) -> None:
    """Take back a child whose stage turned out to need no run."""
    with tracking.explained("drop a run"):
        tracking.client().delete_run(run_id)


def link(parent: str, stage: str, outcome: str, run_id: str | None) -> None:
    """Note on the parent what became of a stage and which run, of now or earlier, made its outputs."""
    store = tracking.client()
    with tracking.explained("tag a run"):
        store.set_tag(parent, f"stage.{stage}.outcome", outcome)
        store.set_tag(parent, f"stage.{stage}.run_id", run_id or "unknown")


def keep(run_id: str, paths: Iterable[str | Path]) -> None:
    """Put the files that are there into the run: with them and DVC's cache the state can be had again."""
    store = tracking.client()
    with tracking.explained("keep files with a run"):
        for path in map(Path, paths):
            if path.exists():
                store.log_artifact(run_id, str(path), "state")


def tag(run_id: str, values: dict[str, object]) -> None:
    """Words about a run."""
    store = tracking.client()
    with tracking.explained("tag a run"):
        for name, value in values.items():
            store.set_tag(run_id, name, str(value))


def attach(run_id: str, path: Path) -> str:
    """Put a file among the artefacts of a run; returns where a browser finds it: an address or a local path."""
    store = tracking.client()
    with tracking.explained("log an artefact"):
        store.log_artifact(run_id, str(path))
        run = store.get_run(run_id)
    server = tracking.uri()
    if server.startswith("http"):
        # without the password that may stand in the address
        address = tracking.scrub(server).replace("***@", "").rstrip("/")
        experiment = run.info.experiment_id
        return f"{address}/#/experiments/{experiment}/runs/{run_id}/artifacts/{path.name}"
    return str(path)
