"""Before the app: who may enter, a place for whoever brings a photo, and an answer to everything that goes wrong.

Plain ASGI, because a place must be held until the last byte of the answer is out.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import time

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.serving.api import problems
from components.serving.api.limits import Limits
from components.serving.api.problems import Problem
from components.serving.service import FullError, Service, StoppingError

PHOTO_PATHS = ("/v1/diagnose", "/v1/restore")
GUARDED = (*PHOTO_PATHS, "/metrics")
KNOWN = (*GUARDED, "/healthz", "/readyz", "/openapi.json")
# of an answer: so much waits in the socket's buffer, and no more
PIECE_BYTES = 64 * 1024
# as nginx logs a client that left before its answer
GONE = 499

log = logging.getLogger("rnr.serving")


class Front:
    """ASGI middleware. `token`: what `Authorization: Bearer` must say, None where everyone may enter."""

    def __init__(self, app: ASGIApp, service: Service, limits: Limits, token: str | None) -> None:
        self.app, self.service, self.limits = app, service, limits
        self._digest = None if token is None else _digest(token.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = _Visit(scope, receive, send, self.limits)
        try:
            try:
                await self._enter(visit)
            except Problem as problem:
                await visit.refuse(problem)
            except ClientDisconnect:
                log.debug("%s: the client left", visit.path)
            except _UnreadError:
                # the server closes a connection whose answer is left unfinished
                log.warning("%s: the client reads too slowly", visit.path)
            except Exception:
                log.exception("%s %s failed", visit.method, visit.path)
                await visit.refuse(Problem(problems.INTERNAL, "an unexpected error; the server's log says more"))
        finally:
            self._count(visit)

    async def _enter(self, visit: _Visit) -> None:
        if visit.path in GUARDED:
            self._check(visit)
        with contextlib.ExitStack() as held:
            if visit.path in PHOTO_PATHS and visit.method == "POST":
                try:
                    held.enter_context(self.service.place())
                except FullError as error:
                    raise Problem(problems.BUSY, str(error), error.retry_s) from None
                except StoppingError as error:
                    raise Problem(problems.STOPPING, str(error), error.retry_s) from None
            await self.app(visit.scope, visit.receive, visit.send)

    def _check(self, visit: _Visit) -> None:
        """Raises Problem for a visit without the token."""
        if self._digest is None:
            return
        given = dict(visit.scope["headers"]).get(b"authorization", b"")
        scheme, _, word = given.partition(b" ")
        # digests: neither the length of the token nor where it differs shows in the time
        if scheme.lower() != b"bearer" or not hmac.compare_digest(_digest(word.strip()), self._digest):
            line = "send the header `Authorization: Bearer TOKEN`" if not given else "the token is not the right one"
            raise Problem(problems.UNAUTHORIZED, line, WWW_Authenticate='Bearer realm="rnr"')

    def _count(self, visit: _Visit) -> None:
        seconds = time.monotonic() - visit.began
        metrics = self.service.metrics
        metrics.requests.labels(visit.path, str(visit.status)).inc()
        metrics.seconds.labels(visit.path).observe(seconds)
        if visit.path in PHOTO_PATHS:
            sizes = (visit.came, visit.went)
            log.info("%s %s %d, %d bytes in, %d out, %.3f s", visit.method, visit.path, visit.status, *sizes, seconds)


def _digest(word: bytes) -> bytes:
    return hashlib.sha256(word).digest()


class _UnreadError(Exception):
    """A client takes its answer too slowly."""


class _Visit:
    """One request: what came in, what went out, and how it ended."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self.scope, self.method = scope, scope["method"]
        # paths and methods that are not ours could be anything, and without number
        self.path = scope["path"] if scope["path"] in KNOWN else "other"
        self.began, self.came, self.went, self.status = time.monotonic(), 0, 0, 0
        self._receive, self._send, self._limits = receive, send, limits
        self._answering = 0.0

    async def receive(self) -> Message:
        message = await self._receive()
        self.came += len(message.get("body", b""))
        if message["type"] == "http.disconnect" and not self.status:
            self.status = GONE
        return message

    async def send(self, message: Message) -> None:
        """In pieces, each of which must be taken in time: an answer that nobody reads must not stay in memory."""
        if self.status == GONE:
            return
        loop = asyncio.get_running_loop()
        if message["type"] == "http.response.start":
            self.status, self._answering = message["status"], loop.time()
            await self._send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        for start in range(0, max(len(body), 1), PIECE_BYTES):
            piece = body[start : start + PIECE_BYTES]
            last = start + PIECE_BYTES >= len(body)
            try:
                async with asyncio.timeout_at(self._limits.due(self._answering, self.went)):
                    await self._send({"type": "http.response.body", "body": piece, "more_body": more or not last})
            except TimeoutError:
                raise _UnreadError from None
            self.went += len(piece)

    async def refuse(self, problem: Problem) -> None:
        """Tell the problem, if nothing else has been told yet."""
        if not self.status:
            await problem.response()(self.scope, self.receive, self.send)
