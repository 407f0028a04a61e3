"""Prefect's temporary server, started while this process still imports what the run needs.

Without PREFECT_API_URL Prefect starts a server of its own at the first call and waits ten seconds for it with idle
hands. Here it starts earlier; Prefect then finds it running, and ends it with the process as ever.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Iterator

from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_ENABLED


def wanted() -> bool:
    """Whether Prefect would start one."""
    return not PREFECT_API_URL.value() and bool(PREFECT_SERVER_EPHEMERAL_ENABLED.value())


@contextlib.contextmanager
def starting() -> Iterator[bool]:
    """The server starts beside the block and answers when it is left; yields False where there is no need of one.

    What goes wrong with it is what Prefect raises: RuntimeError.
    """
    if not wanted():
        yield False
        return
    from prefect.server.api.server import SubprocessASGIServer

    failures: list[BaseException] = []

    def start() -> None:
        try:
            SubprocessASGIServer().start()
        except BaseException as error:
            failures.append(error)

    # with the settings of this thread, which may differ from those of the process
    waiting = threading.Thread(target=contextvars.copy_context().run, args=(start,), daemon=True)
    waiting.start()
    try:
        yield True
    finally:
        # also after a failure in the block: the end of the process stops only a server whose start it has seen
        waiting.join()
    if failures:
        raise failures[0]
