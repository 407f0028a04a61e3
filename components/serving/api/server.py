"""The sockets under the app: uvicorn with what it lacks. Heads that never end, uploads that are cut off, a slow stop.

serve(app, service, host="127.0.0.1", port=0, ready=lambda url: print(url))     # until SIGTERM or SIGINT
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from types import FrameType

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from components.serving.api import problems
from components.serving.api.problems import Problem
from components.serving.service import Service

# the head of a request, or what is left of a body that was refused, must be through by then
HEAD_S = 10.0
KEEP_ALIVE_S = 15
# each holds some 100 KB at most: what its socket buffers, before anybody has asked for it
CONNECTIONS = 256
# after a signal: answers that are being made have this long, and load balancers that long to look at /readyz
FINISH_S, NOTICE_S = 300.0, 1.0

log = logging.getLogger("rnr.serving")


class Protocol(H11Protocol):
    """HTTP/1.1 of one connection, whose failures below the app are problem documents too."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        if len(self.connections) > CONNECTIONS:
            self._refuse(Problem(problems.CROWDED, f"more than {CONNECTIONS} connections", retry_s=1))
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """A body that ends before its time gets an answer, where the client has only closed its own side."""
        if self.cycle and self.cycle.more_body and not self.cycle.response_started:
            self._refuse(Problem(problems.MALFORMED, "the upload was cut off"))

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem(problems.MALFORMED, f"no valid HTTP request: {msg}"))

    def _watch(self) -> None:
        """A head, or a body that nobody waits for any more, has HEAD_S from its first moment on."""
        between = self.conn.our_state is h11.IDLE and self.cycle is not None and not self.conn.trailing_data[0]
        if between or not (self.cycle is None or self.cycle.response_complete) or self.transport.is_closing():
            # at work, or kept alive without a next request: uvicorn's own timer sees to that
            self._unwatch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self._too_slow)

    def _unwatch(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse(Problem(problems.SLOW_UPLOAD, f"the head of the request took longer than {HEAD_S:g} s"))
        else:
            self.transport.abort()

    def _refuse(self, problem: Problem) -> None:
        """Answer without the app, and close. For the app the client has left."""
        if self.cycle and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.is_closing() or self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        body = problem.body()
        headers = {"Content-Type": problems.MEDIA_TYPE, "Content-Length": str(len(body)), "Connection": "close"}
        head = h11.Response(status_code=problem.kind.status, headers=[*(headers | problem.headers).items()])
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's, with a stop in two steps: refuse new work while the old is finished, then close."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service, self._signalled = service, 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the stop, a second one ends it at once."""
        if self._signalled:
            self.should_exit = self.force_exit = True
        self._signalled = self._signalled or time.monotonic()
        self._service.stop()

    async def on_tick(self, counter: int) -> bool:
        if self._signalled:
            passed = time.monotonic() - self._signalled
            if passed > FINISH_S or (passed > NOTICE_S and not self._service.taken):
                self.should_exit = True
        return await super().on_tick(counter)


def serve(app: ASGIApp, service: Service, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until a signal; `ready` hears the address once it is open. Raises OSError where it cannot be had."""
    for name in ("uvicorn", "python_multipart"):
        logging.getLogger(name).setLevel(logging.ERROR)
    config = uvicorn.Config(
        app, http=Protocol, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=30,
    )  # fmt: skip
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    with socket.socket(family, kind, proto) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        ready(f"http://{shown}:{listener.getsockname()[1]}")
        Server(config, service).run([listener])
