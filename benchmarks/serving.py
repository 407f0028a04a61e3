"""Many clients at once against `rnr serve`: how long they wait, what fails, and whether memory grows.

    .venv/bin/python -m benchmarks.serving                       # 16 clients, 120 s, restoring one small photo
    .venv/bin/python -m benchmarks.serving --seconds 20          # a quick look
    .venv/bin/python -m benchmarks.serving --clients 32 --queue 16 --path /v1/diagnose --json

First one client alone, whose median is the unloaded time. Then all of them, each with its next request as soon as the
last is answered; after a 429 a client waits as Retry-After says, at most a second here. Memory is read every second;
its growth is the median of the last quarter of the time over that of the second: the allocator's arenas fill up in the
first. Prints a verdict for each requirement; exit code 1 when one is missed. On a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

PHOTO = Path("docs/gallery/photos/haze-town-from-the-air.png")
ALONE = 12
MOST_TIMES = 1.5
# between two quarters of a warm run; one photo of the benchmark leaked by each request would be more than twice that
MOST_GROWTH = 0.05


@contextlib.contextmanager
def server(model: str, queue: int) -> Iterator[str]:
    """The address of an `rnr serve` of its own."""
    argv = [sys.executable, "-m", "rnr.cli", "serve", "--port", "0", "--json", "--model", model, "--queue", str(queue)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the server did not start; try `rnr serve --model {model}`")
        yield json.loads(line)["url"]
    finally:
        process.terminate()
        process.wait(timeout=330)


def photo(side: int) -> bytes:
    """A real photo, its longest side `side` px, as PNG."""
    buffer = io.BytesIO()
    with Image.open(PHOTO) as image:
        image.thumbnail((side, side))
        image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def resident(url: str) -> float:
    """MB that the server holds."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes ")) / 1e6


def ask(client: httpx.Client, path: str, data: bytes) -> tuple[int, float, float]:
    """(status, seconds, what Retry-After says); status 0 where the connection failed."""
    began = time.perf_counter()
    # an edit, so that every request takes the same work
    fields = {"edit": "haze=50"} if path == "/v1/restore" else {}
    try:
        answer = client.post(path, files={"image": data}, data=fields)
    except httpx.HTTPError:
        return 0, time.perf_counter() - began, 0
    return answer.status_code, time.perf_counter() - began, float(answer.headers.get("Retry-After", 0))


def load(url: str, path: str, data: bytes, clients: int, seconds: float) -> list[tuple[int, float]]:
    """(status, seconds) of all requests of so many clients in so much time."""
    rows: list[tuple[int, float]] = []
    end = time.perf_counter() + seconds

    def one() -> None:
        with httpx.Client(base_url=url, timeout=600) as client:
            while time.perf_counter() < end:
                status, took, wait = ask(client, path, data)
                rows.append((status, took))
                time.sleep(min(wait, 1))

    threads = [threading.Thread(target=one) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rows


class Watch(threading.Thread):
    """MB that the server holds, every second."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.seen, self.over = url, list[float](), threading.Event()

    def run(self) -> None:
        while not self.over.wait(1):
            self.seen.append(resident(self.url))

    def quarters(self) -> tuple[float, float]:
        """The medians of the second and of the last quarter."""
        part = max(len(self.seen) // 4, 1)
        return statistics.median(self.seen[part : 2 * part] or self.seen), statistics.median(self.seen[-part:])


def measure(args: argparse.Namespace) -> dict[str, object]:
    """All figures of one run."""
    data = photo(args.side)
    with server(args.model, args.queue) as url:
        with httpx.Client(base_url=url, timeout=600) as client:
            alone = [ask(client, args.path, data)[1] for _ in range(ALONE)][2:]
        watch = Watch(url)
        watch.start()
        began = time.perf_counter()
        rows = load(url, args.path, data, args.clients, args.seconds)
        took = time.perf_counter() - began
        watch.over.set()
        watch.join()
    good = sorted(took for status, took in rows if status == 200)
    if len(good) < 2:
        raise SystemExit(f"nearly no answer: {collections.Counter(status for status, _ in rows)}")
    unloaded, waiting = statistics.median(alone), min(args.clients, args.queue)
    p95 = statistics.quantiles(good, n=20, method="inclusive")[-1]
    failures = collections.Counter(str(status or "no answer") for status, _ in rows if status != 200)
    early, late = watch.quarters()
    return {
        "unloaded_s": unloaded,
        "requests": len(rows),
        "answered": len(good),
        "failures": dict(failures),
        "p50_s": statistics.median(good),
        "p95_s": p95,
        "p95_over_unloaded_times_queue": p95 / (unloaded * waiting),
        "requests_a_second": len(good) / took,
        "memory_mb": [early, late],
        "memory_growth": late / early - 1,
    }


def verdicts(found: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """(Requirement, figure, whether it holds)."""
    errors = {status: count for status, count in found["failures"].items() if status != "429"}
    ratio, growth = found["p95_over_unloaded_times_queue"], found["memory_growth"]
    early, late = found["memory_mb"]
    return [
        ("no error other than 429", f"{errors or 'none'} of {found['requests']} requests", not errors),
        (f"p95 at most {MOST_TIMES:g} x unloaded x queue", f"{ratio:.2f} x", ratio <= MOST_TIMES),
        (
            f"memory grows by at most {MOST_GROWTH:.0%}",
            f"{early:.0f} -> {late:.0f} MB, {growth:+.1%}",
            growth <= MOST_GROWTH,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--queue", type=int, default=16, help="places of the server (default: 16)")
    parser.add_argument("--side", type=int, default=320, help="longest side of the photo, px (default: 320)")
    parser.add_argument("--path", choices=("/v1/restore", "/v1/diagnose"), default="/v1/restore")
    parser.add_argument("--model", default="pretrained")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args)
    judged = verdicts(found)
    if args.json:
        print(json.dumps(found | {"holds": {name: holds for name, _, holds in judged}}))
    else:
        for name, value in found.items():
            print(f"{name:32s}{value:.3f}" if isinstance(value, float) else f"{name:32s}{value}")
        for name, figure, holds in judged:
            print(f"{'holds ' if holds else 'MISSED'}  {name}: {figure}")
    sys.exit(0 if all(holds for _, _, holds in judged) else 1)


if __name__ == "__main__":
    main()
