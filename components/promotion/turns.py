"""One registration, promotion or rollback at a time, over all processes and machines that share a registry.

Whoever wants to change the registry draws a ticket: an entry of the sequence QUEUE, whose number the database gives
out once. The lowest ticket has its turn. Its holder shows every few seconds that it is alive; the others watch that
sign by their own clocks, so that no two clocks are compared, and withdraw a ticket that stood still for
LEASE_SECONDS. To withdraw one twice does nothing, and no other ticket can be hit by it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator

from components import tracking
from components.promotion.versions import PromotionError
from components.tracking import sequence

QUEUE = f"{tracking.MODEL_NAME}-turns"
ABOUT = "No model: who may register, promote or roll back now. See docs/promotion.md."
LEASE_SECONDS = float(os.environ.get("RNR_PROMOTION_LEASE_SECONDS", "60"))
POLL_SECONDS = 0.25


class Turn:
    """A ticket of this process, kept alive until `end`."""

    def __init__(self, what: str) -> None:
        who = f"process {os.getpid()} on {platform.node()}"
        self.number = sequence.append(QUEUE, ABOUT, {"who": who, "what": what, "beat": "0"})
        self._ended = threading.Event()
        self._alive = threading.Thread(target=self._show_life, daemon=True)
        self._alive.start()

    def _show_life(self) -> None:
        beat = 0
        while not self._ended.wait(LEASE_SECONDS / 6):
            beat += 1
            # a server that is gone may be back for the next beat; `still_mine` tells when it was away too long
            with contextlib.suppress(tracking.TrackingError, OSError):
                sequence.mark(QUEUE, self.number, "beat", str(beat))

    def still_mine(self) -> None:
        """Ask before each step that others must not see half done. Raises PromotionError when the turn was lost."""
        if self.number not in sequence.entries(QUEUE):
            raise PromotionError(
                f"{tracking.MODEL_NAME}: this process stood still for more than {LEASE_SECONDS:g} s and lost its turn; "
                "run the command again"
            )

    def wait(self) -> None:
        """Until every earlier ticket is given back or withdrawn."""
        sign: tuple[int, str] | None = None
        since = time.monotonic()
        while True:
            tickets = sequence.entries(QUEUE)
            first = min(tickets, default=None)
            if first == self.number:
                return
            if first is None or self.number not in tickets:
                self.still_mine()
                continue
            if sign is None or sign[0] != first:
                holder = f"{tickets[first].get('who', 'somebody')} ({tickets[first].get('what', 'at work')})"
                print(f"waiting for {holder}, which holds the registry", file=sys.stderr, flush=True)
            if sign != (first, tickets[first].get("beat", "")):
                sign, since = (first, tickets[first].get("beat", "")), time.monotonic()
            elif time.monotonic() - since > LEASE_SECONDS:
                sequence.remove(QUEUE, first)
            time.sleep(POLL_SECONDS)

    def end(self) -> None:
        """Give the ticket back; where the registry is gone just now, the others withdraw it after the lease."""
        self._ended.set()
        self._alive.join()
        with contextlib.suppress(tracking.TrackingError):
            sequence.remove(QUEUE, self.number)


@contextlib.contextmanager
def one_at_a_time(what: str) -> Iterator[Turn]:
    """Wait for the turn to do `what` ("promoting") and hold it. Raises TrackingError, PromotionError."""
    turn = Turn(what)
    try:
        turn.wait()
        yield turn
    finally:
        turn.end()
