"""A Prefect server for one run, started while this process still imports what the run needs.

Without PREFECT_API_URL Prefect starts a server of its own at the first call and waits for it with idle hands; for that
it imports the whole server into the caller too. Here the same server starts earlier, in a process of its own alone;
the run is told its address as it would be told that of any other. Nothing of Prefect is imported above: `begin` must
come before that.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from components import lifeline

# as Prefect starts its own: without the pages
MARKS = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
SERVER = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
SERVER += ["--host", "127.0.0.1", "--log-level", "error", "--lifespan", "on"]
# to end in: its database holds only whole transactions
GRACE_S = 5.0
BEAT_S = 0.05


class TemporaryServerError(RuntimeError):
    """The server did not come up; one line."""


class _Server(NamedTuple):
    process: subprocess.Popen[bytes]
    api: str


# what `begin` started and `starting` has not taken over yet
_begun: list[_Server] = []


def begin() -> None:
    """Start the server now if, as far as the environment tells, one is needed. A profile of Prefect's may know another;
    `starting` asks it and ends what is started here in vain, and so does the end of the process."""
    if not os.environ.get("PREFECT_API_URL"):
        _begun.append(_start())


def wanted() -> bool:
    """Whether Prefect would start one."""
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_ENABLED

    return not PREFECT_API_URL.value() and bool(PREFECT_SERVER_EPHEMERAL_ENABLED.value())


@contextlib.contextmanager
def starting() -> Iterator[bool]:
    """The server starts beside the block and answers when it is left, until this process ends; yields False where
    there is no need of one. Raises TemporaryServerError."""
    server = _begun.pop() if _begun else None
    if not wanted():
        if server:
            _end(server.process)
        yield False
        return
    import prefect.context
    from prefect.settings import PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS

    server = server or _start()
    yield True
    _wait(server, float(PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()))
    os.environ["PREFECT_API_URL"] = server.api
    prefect.context.refresh_global_settings_context()


def _start() -> _Server:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*SERVER, "--port", str(port)],
        env={**os.environ, **MARKS},
        preexec_fn=partial(lifeline.die_with_parent, signal.SIGTERM),
    )
    # not at the end of the run: Prefect's threads tell the server the last of it when the interpreter ends, before this
    atexit.register(_end, process)
    return _Server(process, f"http://127.0.0.1:{port}/api")


def _wait(server: _Server, seconds: float) -> None:
    due = time.monotonic() + seconds
    while time.monotonic() < due:
        if (code := server.process.poll()) is not None:
            raise TemporaryServerError(f"Prefect's temporary server ended with code {code}; its own lines say why")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{server.api}/health", timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(BEAT_S)
    raise TemporaryServerError(
        f"Prefect's temporary server does not answer after {seconds:g} s: "
        "raise PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, or set PREFECT_API_URL to a server that runs"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
