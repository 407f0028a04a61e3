"""`rnr app`: the page on this machine, and on others only behind a password."""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable

from components import tracking
from rnr import console
from rnr.access import is_loopback
from rnr.photos_commands import load_models

TOKEN = "RNR_TOKEN"
LARGEST_FILE = "1gb"
# connections that a browser holds open must not hold up the end
LAST_WORDS_S = 2
LOGIN = f"Any name will do; the password is the one in {TOKEN} of whoever started this page."


def command(args: argparse.Namespace) -> int:
    """Serve until interrupted; exit code 2 for a wrong address or a missing password."""
    password = os.environ.get(TOKEN, "")
    if not password and not is_loopback(args.host):
        raise console.WrongUse(
            f"--host {args.host}: others could see this page; set a password in the environment variable {TOKEN}"
        )
    with listen(args.host, args.port) as listener:
        models = load_models(args)
        serve(listener, models, login(password) if password else None, address(listener), args.json)
    return console.OK


def login(password: str) -> Callable[[str, str], bool]:
    """Whether a name and a password let in: any name, compared in a time that tells nothing."""
    return lambda name, given: secrets.compare_digest(given.encode(), password.encode())


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for visitors. Raises WrongUse."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "already taken; give another --port, or 0 for any free one" if taken else error.strerror
        raise console.WrongUse(f"{host}:{port}: cannot be listened on: {reason}") from None


def address(listener: socket.socket) -> str:
    """The URL of a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve(listener: socket.socket, models, auth: Callable[[str, str], bool] | None, url: str, as_json: bool) -> None:
    """Run the server until SIGINT or SIGTERM; every file of the visitors is gone afterwards."""
    from rnr.app.picture import Darkroom
    from rnr.app.turns import Turns
    from rnr.app.visitors import Visitors

    # uvicorn ends well, then hands the signal on: it must not cost the files their deletion
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    visitors = Visitors(Darkroom(models, Turns()))
    # read when Gradio is imported and when it receives a file
    os.environ["GRADIO_TEMP_DIR"] = str(visitors.served)
    tracking.telemetry_off()
    try:
        import fastapi
        import gradio as gr
        import uvicorn

        from rnr.app.page import HERE, Page, theme

        for name in ("httpx", "uvicorn.error"):
            logging.getLogger(name).setLevel(logging.WARNING)
        page = Page(visitors)
        app = gr.mount_gradio_app(
            fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
            page.blocks,
            path="/",
            auth=auth,
            auth_message=LOGIN,
            theme=theme(),
            css_paths=[HERE / "page.css"],
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            pwa=False,
            max_file_size=LARGEST_FILE,
            show_error=True,
        )
        visitors.keep_sweeping()
        if as_json:
            console.put_json({"url": url})
        else:
            print(f"The page is at {url} (Ctrl+C ends it)", flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=LAST_WORDS_S)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        visitors.close()
