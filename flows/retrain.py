"""The flow: every stage of dvc.yaml that changed, then register, gate and promote.

    python -m flows.retrain
    python -m flows.retrain --warm-start

A run that failed or was killed is simply started again: DVC skips what is done, a training goes on from its last
checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from components import params, tracking
from components.promotion import promote as promotion
from components.promotion import register as registration
from components.promotion.gate import Verdict
from components.promotion.register import Registered
from components.promotion.versions import PromotionError
from components.report.evidence import ReportError
from flows import dvc_graph, make_home, parent_run, photo_set, preflight, prepare, remote, temporary_server
from flows import warm_start as warm
from flows.dvc_graph import GraphError, Stage
from flows.photo_set import PhotoSetError
from flows.remote import RemoteError
from flows.report import REPORT_STAGE, publish_report, told_before
from flows.stage import Children, FlowParams, StageFailed, StageResult, one_line_failures, run_stage
from flows.temporary_server import TemporaryServerError
from flows.warm_start import WarmStartError

LOCK = Path("work/retrain.lock")
# with these files, git's commit and DVC's cache the state of a run can be had again
STATE = ("dvc.lock", params.PARAMS_FILE, "data/ledger.csv", str(photo_set.WRITTEN))


class RetrainError(RuntimeError):
    """The run did not come to its end; one line that names the culprit."""


@dataclass(frozen=True)
class Summary:
    """What a run did. `run_id`: the MLflow parent run; `created`: whether `version` is new; `seconds`: in all."""

    stages: tuple[StageResult, ...]
    version: str
    created: bool
    verdict: Verdict
    run_id: str
    seconds: float

    @property
    def executed(self) -> list[str]:
        """Names of the stages whose command ran."""
        return [stage.name for stage in self.stages if stage.outcome == "executed"]

    def as_dict(self) -> dict:
        """For JSON."""
        return asdict(self)


@contextlib.contextmanager
def only_run() -> Iterator[None]:
    """Two runs in one working directory would write the same outputs. Raises RetrainError."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with open(LOCK, "a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise RetrainError(f"another run is at work in {Path.cwd()} (process {holder}); wait for its end") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does, so that the stages are stopped and the runs closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_stages(
    stages: list[Stage], changed: dict[str, str], parent: str, children: Children, config: FlowParams
) -> list[StageResult]:
    """Every stage as a task, each after those it needs, up to `parallelism` at once.

    When one fails, what needs it is left out, the rest goes on, and then StageFailed of the first is raised.
    """
    threads = max(1, (os.cpu_count() or 1) // config.parallelism)
    attempt = run_stage.with_options(
        retries=config.retries,
        retry_delay_seconds=config.retry_delay_s,
        retry_condition_fn=lambda task, run, state: not children.stopping,
    )
    waiting, results, failed = list(stages), dict[str, StageResult](), dict[str, BaseException]()
    running: dict[str, PrefectFuture] = {}
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()
    while waiting or running:
        waiting = [stage for stage in waiting if not stage.deps & left_out(stages, set(failed))]
        for stage in [stage for stage in waiting if stage.deps <= results.keys()]:
            if len(running) >= config.parallelism:
                break
            same = stage.name not in changed and all(results[name].outcome == "skipped" for name in stage.deps)
            future = attempt.submit(stage, parent, children, threads, same)
            running[stage.name] = future
            waiting.remove(stage)
            future.add_done_callback(partial(note_end, ended, stage.name))
        if running:
            name = ended.get()
            try:
                results[name] = running.pop(name).result()
            except Exception as error:
                failed[name] = error
    if failed:
        raise next(iter(failed.values()))
    return [results[stage.name] for stage in stages]


def note_end(ended: queue.SimpleQueue[str], name: str, _: PrefectFuture) -> None:
    """Called by Prefect, in the thread of the task."""
    ended.put(name)


def left_out(stages: list[Stage], failed: set[str]) -> set[str]:
    """The failed stages and all that need them; `stages` come in order."""
    lost = set(failed)
    for stage in stages:
        if stage.deps & lost:
            lost.add(stage.name)
    return lost


@task(cache_policy=NO_CACHE, task_run_name="register")
def register_challenger(parent: str, stage_runs: dict[str, str | None]) -> Registered:
    """The models of this run as @challenger."""
    return registration.register(parent, stage_runs)


@task(cache_policy=NO_CACHE, task_run_name="gate and promote")
def promote_challenger() -> Verdict:
    """The gate's verdict, carried out."""
    return promotion.promote()


def ready(parallelism: int | None) -> FlowParams:
    """Checks what can be checked in seconds; section `flow` with `parallelism` put in. Raises ParamsError, OSError."""
    preflight.check_params()
    config = params.load("flow", FlowParams)
    if parallelism is not None:
        config = params.parse("flow", {**config.model_dump(), "parallelism": parallelism}, FlowParams)
    preflight.check_disk(config.min_free_disk_gb)
    return config


@flow(name="retrain", validate_parameters=False)
def retrain(parallelism: int | None = None, warm_start: bool = False) -> Summary:
    """One whole run in the working directory; also the entry point of a deployment.

    `parallelism`: stages at once, by default flow.parallelism of params.yaml. `warm_start`: what is trained starts from
    the champion. Raises one of FAILURES, each of one line.
    """
    started = time.monotonic()
    one_line_failures()
    with only_run():
        config = ready(parallelism)
        children, status = Children(), "KILLED"
        parent = ""
        try:
            stages, changed, shared = prepare.look_around(children)
            parent = parent_run.start_parent("retrain")
            if warm_start:
                changed = prepare.start_warm(stages, changed, parent)
            done = run_stages(stages, changed, parent, children, config)
            if any(stage.outcome != "skipped" for stage in done):
                parent_run.keep(parent, [*STATE, *warm.pointers()])
            made = register_challenger(parent, {stage.name: stage.run_id for stage in done})
            verdict = promote_challenger()
            if any(stage.name == REPORT_STAGE for stage in done):
                told = told_before(tuple(done), verdict)
                if told is None:
                    publish_report(parent, tuple(done), verdict)
                parent_run.tag(parent, {"report_run": told or parent})
            facts = {"version": made.version, "action": verdict.action, "accepted": verdict.accepted}
            parent_run.tag(parent, {**facts, "reasons": "; ".join(verdict.reasons)})
            if shared and remote.UNSENT.exists():
                prepare.send_results(children)
            status = "FINISHED"
        except Exception:
            status = "FAILED"
            raise
        finally:
            children.stop()
            if parent:
                parent_run.end(parent, status)
        return Summary(tuple(done), made.version, made.created, verdict, parent, round(time.monotonic() - started, 1))


# what a run may end with, each of one line
FAILURES = (
    params.ParamsError,
    OSError,
    GraphError,
    StageFailed,
    PhotoSetError,
    WarmStartError,
    RemoteError,
    PromotionError,
    ReportError,
    TemporaryServerError,
    tracking.TrackingError,
)


def run(parallelism: int | None = None, warm_start: bool = False) -> Summary:
    """`retrain` for the command line: every failure is a RetrainError of one line; KeyboardInterrupt passes."""
    try:
        with terminable():
            # before the server starts, which takes longer than the checks
            ready(parallelism)
            make_home()
            with temporary_server.starting() as begun:
                if begun:
                    # what the flow needs anyway, while the server starts: MLflow and DVC take seconds to import
                    tracking.client()
                    dvc_graph.stages()
            return retrain(parallelism, warm_start)
    except FAILURES as error:
        raise RetrainError(" ".join(str(error).split())) from error


def main() -> int:
    parser = argparse.ArgumentParser(description="Run every stage that changed, then the gate and the promotion.")
    parser.add_argument("--warm-start", action="store_true", help="train on from the champion")
    try:
        summary = run(warm_start=parser.parse_args().warm_start)
    except RetrainError as error:
        sys.exit(f"retrain: {error}")
    except KeyboardInterrupt:
        sys.exit("retrain: stopped; start it again to go on")
    for stage in summary.stages:
        print(f"{stage.name}: {stage.outcome} in {stage.seconds:.1f} s")
    print(f"version {summary.version}: {summary.verdict.action}, {summary.seconds:.0f} s in all")
    for reason in summary.verdict.reasons:
        print(f"  {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
