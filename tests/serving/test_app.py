"""The app in this process, on models that do as they are told: what takes too long, breaks, or goes away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import httpx
import numpy as np
import pytest
from starlette.types import ASGIApp, Message

from components.diagnosis import Diagnosis
from components.inference import Models, Restored
from components.serving.api.app import build
from components.serving.api.limits import Limits
from components.serving.service import Service
from tests.serving.endpoint import photo

FORM, JSON = b"multipart/form-data; boundary=b", b"application/json"
HEAD = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


class Slow:
    """Diagnoses when `go` is set; breaks where it restores without an edit."""

    def __init__(self) -> None:
        self.go, self.asked = threading.Event(), 0

    def diagnose(self, images: list[np.ndarray]) -> list[Diagnosis]:
        self.asked += len(images)
        assert self.go.wait(20)
        return [Diagnosis() for _ in images]

    def restore(self, image: np.ndarray, edits: dict[str, float] | None = None, strength: float = 1.0) -> Restored:
        if not edits:
            raise RuntimeError("a secret of the photo")
        return Restored(image, Diagnosis(scene="näht"), Diagnosis(), 'a "reason"\nof ü', {}, 0.0)


@pytest.fixture
def slow() -> Iterator[Slow]:
    models = Slow()
    yield models
    models.go.set()


def asked(
    models: Slow,
    ask: Callable[[Service, ASGIApp], Awaitable[Any]],
    limits: Limits = Limits(),  # noqa: B008 - frozen
    **options: Any,
) -> Any:
    """What `ask` makes of a service and its app."""

    async def run() -> Any:
        try:
            return await ask(service, build(service, limits, None))
        finally:
            models.go.set()

    with Service(lambda: "models:/reason-and-restore/7", lambda ref: cast(Models, models), **options) as service:
        return asyncio.run(run())


async def post(app: ASGIApp, path: str, **fields: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.post(path, files={"image": photo()}, data=fields)


def kind(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].rsplit(":", 1)[1]


async def bare(app: ASGIApp, receive: Callable[[], Awaitable[Message]], kind: bytes, send=None) -> list[Message]:
    """What the app sends to a client that is only two functions."""
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/diagnose", "raw_path": b"/v1/diagnose"}
    scope |= {
        "headers": [(b"content-type", kind)],
        "query_string": b"",
        "scheme": "http",
        "server": ("test", 80),
        "root_path": "",
        "http_version": "1.1",
    }
    await app(scope, receive, send or keep)
    return sent


def test_what_breaks_is_a_500_that_tells_nothing(slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
    answer = asked(slow, lambda service, app: post(app, "/v1/restore"))
    assert kind(answer) == (500, "internal-error")
    assert "secret" not in answer.text
    assert any(record.exc_info for record in caplog.records)


def test_headers_hold_any_reason(slow: Slow) -> None:
    answer = asked(slow, lambda service, app: post(app, "/v1/restore", edit="haze=3"))
    assert answer.headers["rnr-kept"] == r'"a \"reason\"?of ?"'
    assert answer.headers["rnr-model"] == '"models:/reason-and-restore/7"'
    assert "rnr-before" not in answer.headers


def test_models_that_take_too_long_and_queues_that_do(slow: Slow) -> None:
    async def both(service: Service, app: ASGIApp) -> list[httpx.Response]:
        first = asyncio.ensure_future(post(app, "/v1/diagnose"))
        while not slow.asked:
            await asyncio.sleep(0.01)
        return [await post(app, "/v1/diagnose"), await first]

    answers = asked(slow, both, Limits(request_s=0.3))
    assert [kind(answer) for answer in answers] == [(503, "waited-too-long"), (504, "timeout")]
    assert int(answers[0].headers["retry-after"]) >= 1


def test_nobody_works_for_a_client_that_left(slow: Slow) -> None:
    async def leave(service: Service, app: ASGIApp) -> None:
        busy = asyncio.ensure_future(post(app, "/v1/diagnose"))
        while not slow.asked:
            await asyncio.sleep(0.01)
        body = HEAD + photo() + b"\r\n--b--\r\n"
        messages: list[Message] = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]

        async def receive() -> Message:
            await asyncio.sleep(0.05)
            return messages.pop(0)

        assert await bare(app, receive, FORM) == []
        assert service.taken == 1
        slow.go.set()
        assert (await busy).status_code == 200
        assert 'status="499"' in service.metrics.text().decode()

    asked(slow, leave)
    assert slow.asked == 1


def test_an_upload_in_drips_is_refused(slow: Slow) -> None:
    async def drip(service: Service, app: ASGIApp) -> list[Message]:
        async def receive() -> Message:
            await asyncio.sleep(0.02)
            return {"type": "http.request", "body": b" ", "more_body": True}

        return await bare(app, receive, JSON)

    for limits in (Limits(grace_s=0.2), Limits(upload_s=0.2, slowest=0.001)):
        start, body = asked(slow, drip, limits)
        assert start["status"] == 408
        assert b"bytes came within 0 s" in body["body"]


def test_an_answer_that_nobody_reads_is_given_up(slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
    async def stall(service: Service, app: ASGIApp) -> None:
        async def receive() -> Message:
            return {"type": "http.request", "body": b"junk"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                await asyncio.sleep(60)

        await asyncio.wait_for(bare(app, receive, FORM, send), 20)
        assert service.taken == 0

    asked(slow, stall, Limits(grace_s=0.2))
    assert "reads too slowly" in caplog.text
