"""`rnr serve`: the HTTP endpoint. Manual: docs/api.md."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import TYPE_CHECKING

import rnr
from components import tracking
from rnr import console
from rnr.access import is_loopback

if TYPE_CHECKING:
    from components.serving.service import Service

# one that somebody could try out is none
SHORTEST_TOKEN = 16


def command(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    word = token(args.host, args.token_from_env)
    tracking.telemetry_off()
    from components.inference import ModelRefError
    from components.serving.api.app import build
    from components.serving.api.limits import MIB, Limits
    from components.serving.api.server import serve

    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("rnr.serving").setLevel(logging.INFO)
    limits = Limits(args.max_mib * MIB, args.max_megapixels * 1_000_000)
    try:
        service = start(args, limits.max_pixels)
    except ModelRefError as error:
        raise console.WrongUse(str(error)) from None

    def ready(url: str) -> None:
        if args.json:
            console.put_json({"url": url, "model": service.live.name, "token": word is not None})
        else:
            print(f"{service.live.name} answers at {url}; its paths are in {url}/openapi.json", flush=True)

    with service:
        try:
            serve(build(service, limits, word), service, args.host, args.port, ready)
        except OSError as error:
            raise console.WrongUse(f"--host {args.host} --port {args.port}: {error.strerror or error}") from None
    return console.OK


def start(args: argparse.Namespace, max_pixels: int) -> Service:
    """The service on the models of --model, which follows them. Raises ModelRefError."""
    from components.inference import ModelRefError
    from components.serving.service import Service

    served: list[str] = []

    def pinned() -> str:
        ref = rnr.pinned(args.model)
        # a registry that has lost its champion is out of order: no reason to serve less
        if served and ref == "pretrained" and served[-1] != "pretrained":
            raise ModelRefError(f"{tracking.CHAMPION}: no such model any more")
        return ref

    def load(ref: str):
        models = rnr.load(ref, args.device)
        served.append(ref)
        return models

    return Service(pinned, load, places=args.queue, batch_pixels=max_pixels, reload_s=args.reload_every)


def token(host: str, variable: str) -> str | None:
    """The token that requests must bear, from the environment; None where only this machine can ask. Raises WrongUse.

    Never an argument: those of a process can be read by everyone on the machine.
    """
    word = os.environ.get(variable, "").strip()
    if word:
        if len(word) < SHORTEST_TOKEN or not word.isascii() or not word.isprintable() or " " in word:
            raise console.WrongUse(
                f"{variable}: a token has {SHORTEST_TOKEN} or more plain characters and no spaces; "
                "`openssl rand -hex 32` makes one"
            )
        return word
    if not is_loopback(host):
        raise console.WrongUse(
            f"--host {host}: other machines can reach this address, so set {variable} to a token "
            "(`openssl rand -hex 32` makes one), or leave --host at 127.0.0.1"
        )
    return None
