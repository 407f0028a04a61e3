"""New photos become an event: look at the sources, wait until they are settled, tell the Prefect server.

    rnr watch --once
    rnr watch s3://bucket/photos --interval 600

The event `rnr.photos.changed` starts the deployment of prefect.yaml. What was told last is kept in work/watch/, so a
restart tells nothing twice and misses nothing that changed in between. While a retraining is under way nothing is
told, for the deployment would cancel the run: it is told at the first look after its end.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from components import storage
from flows import photo_set, server
from flows.photo_set import PhotoSet

EVENT, RESOURCE = "rnr.photos.changed", "rnr.photos"
STATE = Path("work/watch")
# looks at a set that keeps changing before it is left for the next interval
MOST_LOOKS = 20

Outcome = Literal["unchanged", "told", "settling", "busy"]


@dataclass(frozen=True)
class Look:
    """One look at one source. `outcome`: unchanged since it was told last; told now; settling: still changing; busy:
    changed, and told when the retraining that is under way has ended."""

    source: str
    outcome: Outcome
    photos: int
    digest: str
    seconds: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def state_file(source: str) -> Path:
    return STATE / f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.json"


def told_last(source: str) -> str | None:
    """The digest that was told last; for a source never told, the one that the pipeline last ran with, if any."""
    for path, pick in ((state_file(source), lambda found: found), (photo_set.WRITTEN, lambda found: found[source])):
        try:
            return str(pick(json.loads(path.read_text(encoding="utf-8")))["digest"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def settled(source: str, first: PhotoSet, settle_s: float, sleep: Callable[[float], None]) -> PhotoSet | None:
    """The set once two looks `settle_s` apart agree; None when it is still changing after MOST_LOOKS."""
    for _ in range(MOST_LOOKS):
        sleep(settle_s)
        again = photo_set.look(source)
        if again == first:
            return again
        first = again
    return None


def look(source: str, settle_s: float, sleep: Callable[[float], None] = time.sleep) -> Look:
    """Look once, and tell the server of a change. Raises PhotoSetError, ServerError; then nothing counts as told."""
    began = time.monotonic()

    def result(outcome: Outcome, found: PhotoSet) -> Look:
        return Look(source, outcome, found.photos, found.digest, round(time.monotonic() - began, 2))

    now, before = photo_set.look(source), told_last(source)
    if now.digest == before:
        return result("unchanged", now)
    calm = settled(source, now, settle_s, sleep)
    if calm is None:
        return result("settling", now)
    if calm.digest == before:
        return result("unchanged", calm)
    if server.is_retraining():
        return result("busy", calm)
    tell(source, calm, before)
    return result("told", calm)


def tell(source: str, found: PhotoSet, before: str | None) -> None:
    """The event, then the note that it was told: a crash in between tells it twice, which costs seconds."""
    resource = {"prefect.resource.id": f"{RESOURCE}.{state_file(source).stem}", "prefect.resource.name": source}
    server.emit(EVENT, resource, {**asdict(found), "source": source, "digest_before": before or ""})
    storage.write_json(state_file(source), {**asdict(found), "source": source})


def watch(
    sources: Sequence[str],
    interval_s: float,
    settle_s: float,
    once: bool,
    say: Callable[[Look], None],
    fail: Callable[[str, Exception], None],
) -> bool:
    """Look at every source, once or for ever; failures go to `fail` and the others go on. True if all looks went well.

    Unchanged sources need no server.
    """
    while True:
        well = True
        for source in sources:
            try:
                say(look(source, settle_s))
            except (photo_set.PhotoSetError, server.ServerError) as error:
                fail(source, error)
                well = False
        if once:
            return well
        time.sleep(interval_s)
