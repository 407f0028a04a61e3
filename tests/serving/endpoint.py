"""A real `rnr serve` in a process of its own, and photos to send to it."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

from tests.tiny import environment

START_S = 400


@dataclass
class Served:
    """A server at `url`; `client` asks it, with the token if it has one."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    client: httpx.Client = field(init=False)
    token: str | None = None

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=120)

    def post(self, path: str, photo: bytes, **fields: object) -> httpx.Response:
        """The photo as a form, with fields; `accept` is a header."""
        headers = {"Accept": str(fields.pop("accept"))} if "accept" in fields else {}
        return self.client.post(path, files={"image": ("photo", photo)}, data=fields, headers=headers)

    def connect(self) -> socket.socket:
        """A bare connection, for what no client library would send."""
        place = urlsplit(self.url)
        return socket.create_connection((place.hostname, place.port), timeout=60)

    def metric(self, line: str) -> float:
        """The value of one line of /metrics, 0 where it is not there."""
        found = [row for row in self.client.get("/metrics").text.splitlines() if row.startswith(f"{line} ")]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)


@contextmanager
def serving(folder: Path, *options: object, token: str | None = None, **variables: str) -> Iterator[Served]:
    """`rnr serve` on a free port, run in `folder`, with environment variables beside the usual."""
    env = {name: value for name, value in environment().items() if name not in ("RNR_TOKEN", "MLFLOW_TRACKING_URI")}
    env |= variables | ({"RNR_TOKEN": token} if token else {})
    log = folder / "serve.log"
    argv = [sys.executable, "-m", "rnr.cli", "serve", "--port", "0", "--json", *map(str, options)]
    with open(log, "wb") as errors:
        process = subprocess.Popen(argv, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=errors)
    try:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        said, end = b"", time.monotonic() + START_S
        while not said.endswith(b"\n"):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < end, f"no server within {START_S} s"
            said += process.stdout.read() or b""
            time.sleep(0.05)
        yield Served(json.loads(said)["url"], process, log, token=token)
    finally:
        process.kill()
        process.wait(timeout=30)


def photo(form: str = "PNG", size: tuple[int, int] = (48, 32), **options: object) -> bytes:
    """A file with smooth colours under noise, in which something is always wrong."""
    random = np.random.default_rng(0)
    ramp = np.linspace(60, 190, size[0])[None, :, None] + random.normal(0, 25, (size[1], size[0], 3))
    buffer = io.BytesIO()
    Image.fromarray(ramp.clip(0, 255).astype(np.uint8)).save(buffer, form, **options)
    return buffer.getvalue()
