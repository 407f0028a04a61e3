"""`rnr watch`, `rnr deploy`, `rnr worker`: retraining on a schedule and on new photos."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from components import params, tracking
from rnr import console

if TYPE_CHECKING:
    from flows.watch import Look

TOLD = {
    "unchanged": "unchanged",
    "told": "changed; the server was told",
    "settling": "still changing; left for the next look",
    "busy": "changed; will be told when the retraining that is under way has ended",
}


def watch(args: argparse.Namespace) -> int:
    """`rnr watch`: exit code 1 when a look with --once failed."""
    tracking.telemetry_off()
    from flows import photo_set
    from flows import watch as watching

    listed = photo_set.listed()
    for source in args.sources:
        photo_set.check(source)
        if source not in listed:
            console.warn(f"watch: {source} is not in ingest.sources of {params.PARAMS_FILE}: no retraining sees it")

    def say(look: Look) -> None:
        if args.json:
            console.put_json(look.as_dict())
        else:
            print(f"{look.source}: {look.photos} photos, {TOLD[look.outcome]} ({look.seconds:.1f} s)", flush=True)

    def fail(source: str, error: Exception) -> None:
        console.warn(f"watch: {console.one_line(error)}")
        if args.json:
            console.put_json({"source": source, "outcome": "failed", "error": console.one_line(error)})

    well = watching.watch(args.sources or listed, args.interval, args.settle, args.once, say, fail)
    return console.OK if well else console.SOME_FAILED


def deploy(args: argparse.Namespace) -> int:
    """`rnr deploy`."""
    tracking.telemetry_off()
    from flows import deploy as deploying
    from flows.server import ServerError

    try:
        done = deploying.deploy()
    except (ServerError, deploying.DeployError) as error:
        raise console.Failed(f"deploy: {error}") from None
    if args.json:
        console.put_json(asdict(done))
    else:
        print(f"{done.server}: deployment {done.deployment}, work pool {done.pool}, automations for dead runs")
        print("start a worker in a clone: `rnr worker`")
    return console.OK


def worker(args: argparse.Namespace) -> int:
    """`rnr worker`: becomes Prefect's worker, which ends on SIGTERM."""
    tracking.telemetry_off()
    from flows import deploy as deploying
    from flows.server import ServerError

    try:
        environment = deploying.worker_environment()
    except (ServerError, deploying.DeployError) as error:
        raise console.Failed(f"worker: {error}") from None
    argv = deploying.worker_argv(args.name)
    if args.json:
        console.put_json({"command": argv[1:], "repository": environment[deploying.HOME]})
    sys.stdout.flush()
    os.execve(argv[0], argv, environment)
