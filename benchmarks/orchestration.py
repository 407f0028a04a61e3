"""What the flow costs when there is nothing to do: every stage cached, beside plain `dvc repro`.

    python -m benchmarks.orchestration [--repeats 5] [--json]

Run it in a clone in which `rnr run` has been through (else it is run first), on an idle machine. Three figures, each
the median of the repeats after one that is not counted: `dvc repro`; `rnr run` with a server of its own that starts
and ends with it; `rnr run` against a server that is running already. They take turns, so that other work on the machine
meets all of them. Targets: a run of its own takes at most three times `dvc repro` plus the start of the server, a run
against a running server at most 10 s. Exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

TARGET_TIMES, TARGET_RUNNING_S = 3.0, 10.0
RUN = [sys.executable, "-m", "rnr.cli", "run", "--json"]
REPRO = [sys.executable, "-m", "dvc", "repro", "-q"]
PATIENCE_S = 300.0


def environment(home: str, api: str = "") -> dict[str, str]:
    """The caller's, without his Prefect server; `home`: where Prefect keeps its database."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    named = {"PREFECT_API_URL": api} if api else {}
    quiet = {"PREFECT_LOGGING_LEVEL": "WARNING", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    return {"PYTHONPATH": str(Path.cwd()), **kept, **quiet, **named, "PREFECT_HOME": home}


def seconds(argv: list[str], given: dict[str, str]) -> float:
    """Wall clock of one command. Exits with its last line when it fails."""
    began = time.monotonic()
    done = subprocess.run(argv, env=given, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)}: exit code {done.returncode}: {(done.stderr.splitlines() or ['no message'])[-1]}")
    return time.monotonic() - began


@contextlib.contextmanager
def server(home: str) -> Iterator[tuple[str, float]]:
    """A Prefect server: the address of its API and the seconds until it answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    began = time.monotonic()
    process = subprocess.Popen(argv, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5):
                break
            if process.poll() is not None or time.monotonic() - began > PATIENCE_S:
                sys.exit("the Prefect server did not start")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/api", time.monotonic() - began
    finally:
        process.terminate()
        process.wait()


def measure(repeats: int) -> dict[str, float]:
    """Seconds, medians. The first turn is not counted: it fills the caches of the disk."""
    turns: dict[str, list[float]] = {name: [] for name in ("repro", "alone", "start", "running")}
    with tempfile.TemporaryDirectory() as home:
        own = environment(home)
        # whatever is to be computed is computed here
        seconds(RUN, own)
        for _ in range(repeats + 1):
            turns["repro"].append(seconds(REPRO, own))
            turns["alone"].append(seconds(RUN, own))
            with server(home) as (api, start):
                turns["start"].append(start)
                turns["running"].append(seconds(RUN, environment(home, api)))
    found = {name: statistics.median(taken[1:]) for name, taken in turns.items()}
    return {
        "dvc_repro_s": found["repro"],
        "server_start_s": found["start"],
        "flow_own_server_s": found["alone"],
        "flow_own_server_allowed_s": TARGET_TIMES * found["repro"] + found["start"],
        "flow_running_server_s": found["running"],
        "flow_running_server_allowed_s": TARGET_RUNNING_S,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Time runs in which every stage is cached.")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.repeats)
    if arguments.json:
        print(json.dumps({name: round(value, 2) for name, value in figures.items()}))
    else:
        for name, value in figures.items():
            print(f"{name:<32}{value:8.2f}")
    held = (
        figures[f"flow_{which}_server_s"] <= figures[f"flow_{which}_server_allowed_s"] for which in ("own", "running")
    )
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
