"""Who computes: one at a time, in the order of asking. A long job gives way after each tile."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator


class Turns:
    """A first-come, first-served lock. `threading.Lock` is not: who gives it up and asks again gets it first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait, then compute alone."""
        self._take()
        try:
            yield
        finally:
            self._leave()

    def give_way(self) -> None:
        """Inside a turn: let everyone compute who has been waiting, then go on."""
        with self._lock:
            alone = len(self._queue) == 1
        if not alone:
            self._leave()
            self._take()

    def _take(self) -> None:
        mine = threading.Event()
        with self._lock:
            self._queue.append(mine)
            if self._queue[0] is mine:
                mine.set()
        mine.wait()

    def _leave(self) -> None:
        with self._lock:
            self._queue.popleft()
            if self._queue:
                self._queue[0].set()
