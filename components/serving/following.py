"""Which models answer, and how others take over: loaded beside them, tried, and swapped in by one assignment.

from components.serving.following import Following
following = Following(pinned=lambda: rnr.pinned(), load=rnr.load, metrics=Metrics())
following.live.models                                # now
following.look()                                     # and after this perhaps others
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.inference import Models
from components.serving.metrics import Metrics

# a version that could not be loaded is tried again no sooner
RETRY_S = 600.0
# what a model must get through before it is trusted with others' photos
PROOF_PX = 96

log = logging.getLogger("rnr.serving")


@dataclass(frozen=True)
class Live:
    """The models that answer, and the reference that names exactly these, such as models:/reason-and-restore/3."""

    ref: str
    models: Models

    @property
    def name(self) -> str:
        """What strangers may know of `ref`: of a folder its last part."""
        return self.ref if self.ref.startswith("models:") else Path(self.ref).name


class Following:
    """The models that `pinned()` names, loaded by `load(ref)`; both may raise, and `__init__` then does."""

    def __init__(self, pinned: Callable[[], str], load: Callable[[str], Models], metrics: Metrics) -> None:
        self._pinned, self._load, self._metrics = pinned, load, metrics
        self._refused: tuple[str, float] | None = None
        self._told = ""
        self.live = self._loaded(pinned())

    def look(self) -> bool:
        """Look for other models than those that answer; load them aside and let them answer from then on.

        Whatever goes wrong is logged, and the old models stay. True where others answer now.
        """
        ref = ""
        try:
            ref = self._pinned()
            if ref == self.live.ref or (
                self._refused and self._refused[0] == ref and time.monotonic() < self._refused[1]
            ):
                return False
            # one assignment: work that has begun ends with the models it began with
            self.live = self._loaded(ref)
        except Exception as error:  # a registry that is away must not take the service with it
            line = " ".join(str(error).split()) or type(error).__name__
            if line != self._told:
                log.warning("models stay at %s: %s", self.live.ref, line)
            self._told = line
            self._refused = (ref, time.monotonic() + RETRY_S)
            self._metrics.reloads.labels("failed").inc()
            return False
        self._told, self._refused = "", None
        self._metrics.reloads.labels("done").inc()
        log.info("models are now %s", ref)
        return True

    def _loaded(self, ref: str) -> Live:
        """Models that have restored a photo once: the first time is slow, and a broken model shows here."""
        models = self._load(ref)
        grey = np.linspace(90, 200, PROOF_PX, dtype=np.uint8)
        models.restore(np.repeat(np.tile(grey, (PROOF_PX, 1))[..., None], 3, 2), {"haze": 40})
        live = Live(ref, models)
        self._metrics.says_model(live.name)
        return live
