"""What the flow does before its first stage: look for new photos, fetch what others computed, choose the base."""

from __future__ import annotations

from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows import dvc_graph, mend, parent_run, photo_set, remote
from flows import warm_start as warm
from flows.dvc_graph import Stage
from flows.stage import Children


@task(cache_policy=NO_CACHE, task_run_name="fetch", retries=2, retry_delay_seconds=10)
def fetch_results(children: Children) -> None:
    """What the remote has and this working directory lacks."""
    remote.pull(children, get_run_logger().info)


@task(cache_policy=NO_CACHE, task_run_name="send", retries=3, retry_delay_seconds=[10, 60, 300])
def send_results(children: Children) -> None:
    """The results of this run, for others."""
    remote.push(children, get_run_logger().info)


def is_missing(stages: list[Stage]) -> bool:
    """Whether an output or a base of the last state is not in the working directory."""
    outs = [Path(path) for stage in stages for path in (*stage.outs, *stage.metrics)]
    bases = [pointer.with_suffix("") for pointer in warm.pointers()]
    return not all(path.exists() for path in [*outs, *bases])


def look_around(children: Children) -> tuple[list[Stage], dict[str, str], bool]:
    """The stages, those that changed and why, and whether there is a remote. New photos are seen here."""
    logger = get_run_logger()
    if photo_set.refresh():
        logger.info("the photos of the sources changed: %s rewritten", photo_set.WRITTEN)
    stages, changed = mend.look_around(logger.info)
    shared = remote.connect(children, logger.info)
    if shared and is_missing(stages):
        fetch_results(children)
        changed = dvc_graph.status()
    for name, why in changed.items():
        logger.info("%s changed: %s", name, why)
    if shared and changed:
        remote.note_unsent()
    return stages, changed, shared


def start_warm(stages: list[Stage], changed: dict[str, str], parent: str) -> dict[str, str]:
    """Point the bases at the champion where that is right; returns what is changed then."""
    begun = warm.from_champion(stages, changed)
    get_run_logger().info(begun.why)
    bases = {f"warm_start.{name}": base for name, base in begun.base.items()}
    parent_run.tag(parent, {"warm_start.version": begun.version or "none", "warm_start.why": begun.why, **bases})
    return dvc_graph.status() if begun.version else changed
