"""An OpenAI-compatible endpoint of the tests: a real HTTP server that knows the recipes and misbehaves on demand."""

from __future__ import annotations

import base64
import collections
import hashlib
import json
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from components import storage
from components.diagnosis import TYPES
from components.storage import parquet
from tests.local_server import LocalServer, QuietHandler

THINKING_S = 0.02


def truth_of(workspace: Path) -> dict[str, tuple[str, list[float]]]:
    """Hash of a degraded picture's pixels -> (pair_id, severities)."""
    known = {}
    for split in ("train", "val", "test"):
        rows = parquet.read_split(workspace / "data/pairs", split, ["pair_id", "degraded", "severities"])
        for row in rows.itertuples(index=False):
            pixels = storage.decode_image(row.degraded).tobytes()
            known[hashlib.sha256(pixels).hexdigest()] = (row.pair_id, list(row.severities))
    return known


def pair_ids(workspace: Path) -> list[str]:
    """All pairs in the order in which they are asked about."""
    frames = [parquet.read_split(workspace / "data/pairs", s, ["pair_id"]) for s in ("train", "val", "test")]
    return pd.concat(frames)["pair_id"].tolist()


def right(severities: list[float]) -> dict:
    """The answer that agrees with the recipe."""
    findings = [{"type": t, "severity": s} for t, s in zip(TYPES, severities, strict=True) if s >= 1]
    return {
        "scene": "coast",
        "objects": ["lighthouse", "sea"],
        "reasoning": ["A lighthouse stands by the sea.", "I look for damage everywhere.", "Here it is as listed."],
        "findings": findings,
    }


def wrong(severities: list[float]) -> dict:
    """Names the first absent type."""
    absent = next(t for t, s in zip(TYPES, severities, strict=True) if s < 1)
    answer = right(severities)
    return {**answer, "findings": [*answer["findings"], {"type": absent, "severity": 50}]}


class StandIn(LocalServer):
    """`plan(pair_id, number)` says what happens to request `number` (from 0) about a pair:

    right, wrong, prose, half: an answer. html: status 200 and a page. busy: 429 with Retry-After. silent: no answer.
    hang_up: a closed connection. A number such as 500 or 401: that status, with the Authorization header in the body.
    """

    def __init__(self, truth: dict[str, tuple[str, list[float]]], plan: Callable[[str, int], str]) -> None:
        self.truth, self.plan = truth, plan
        self.thinking_s = THINKING_S
        self.without_schema = False  # refuse response_format as some servers do
        self.lock = threading.RLock()
        self.asked: collections.Counter[str] = collections.Counter()
        self.times: dict[str, list[float]] = collections.defaultdict(list)
        self.messages: dict[str, list[list]] = collections.defaultdict(list)
        self.fields: list[set[str]] = []
        self.keys: set[str] = set()
        self.in_flight = self.most_in_flight = 0
        super().__init__(Handler)

    @property
    def url(self) -> str:
        return f"{super().url}/v1"


class Handler(QuietHandler):
    server: StandIn
    inside = False

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        picture = body["messages"][1]["content"][1]["image_url"]["url"].removeprefix("data:image/png;base64,")
        pixels = storage.decode_image(base64.b64decode(picture)).tobytes()
        pair_id, severities = server.truth[hashlib.sha256(pixels).hexdigest()]
        with server.lock:
            server.fields.append(set(body))
            if server.without_schema and "response_format" in body:
                self.send(400, {"error": {"message": "response_format is not supported here"}})
                return
            number = server.asked[pair_id]
            server.asked[pair_id] += 1
            server.times[pair_id].append(time.monotonic())
            server.messages[pair_id].append(body["messages"])
            server.keys.add(self.headers["Authorization"])
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
            self.inside = True
        try:
            self.behave(server.plan(pair_id, number), severities)
        finally:
            self.leave()

    def leave(self) -> None:
        """The request is over: before its last byte is written, for the client asks the next at once."""
        with self.server.lock:
            self.server.in_flight -= self.inside
            self.inside = False

    def behave(self, what: str, severities: list[float]) -> None:
        time.sleep(self.server.thinking_s)
        if what == "silent":
            # until the client hangs up
            select.select([self.connection], [], [], 30)
            self.close_connection = True
        elif what == "hang_up":
            self.close_connection = True
        elif what == "busy":
            self.send(429, {"error": {"message": "slow down"}}, {"Retry-After": "1"})
        elif what == "html":
            self.send(200, "<html>Please sign in</html>")
        elif what.isdigit():
            echo = f"sorry, {self.headers['Authorization']} and again {self.headers['Authorization'].split()[1]}"
            self.send(int(what), {"error": {"message": echo}})
        elif what == "prose":
            self.complete(f"What a lovely picture! You came with {self.headers['Authorization']}.")
        else:
            text = json.dumps((wrong if what == "wrong" else right)(severities))
            self.complete(text[: len(text) // 2] if what == "half" else f"<think>hm {{</think>```json\n{text}\n```")

    def complete(self, text: str) -> None:
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.send(200, {"id": "1", "object": "chat.completion", "created": 1, "model": "stand-in",
                        "choices": [choice], "usage": usage})  # fmt: skip

    def send(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        page = isinstance(value, str)
        content = str(value).encode() if page else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if page else "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.leave()
        self.wfile.write(content)
