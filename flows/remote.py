"""The remote that a team's working directories share: results are fetched before a run and sent after it.

    RNR_DVC_REMOTE=s3://bucket/dvc python -m flows.remote

Sets the default remote of this working directory (.dvc/config.local, which git ignores) to RNR_DVC_REMOTE; the flow
does so by itself. Endpoint and credentials come from the usual environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY) and are written nowhere. Without the variable a remote that `dvc remote add -d` has set is used.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from components import tracking
from flows import dvc_graph
from flows.stage import Children, StageFailed, run_dvc, stage_environment

VARIABLE, NAME = "RNR_DVC_REMOTE", "team"
CONFIGS = (Path(".dvc/config"), Path(".dvc/config.local"))
# there while this working directory holds results that the remote may not have
UNSENT = Path("work/unsent")
ADDRESS = re.compile(r"(s3|gs|azure|ssh|https?|file)://[^@\s]+|/\S+")


class RemoteError(RuntimeError):
    """The remote cannot be used; one line."""


def wanted() -> str:
    """RNR_DVC_REMOTE, or an empty string. Raises RemoteError for what is no address or holds a password."""
    address = os.environ.get(VARIABLE, "").strip()
    if address and not ADDRESS.fullmatch(address):
        raise RemoteError(
            f"{VARIABLE}: {tracking.scrub(address)} is no address such as s3://BUCKET/PREFIX; credentials belong into "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return address


def configured() -> str:
    """Name of the default remote of the working directory, or an empty string."""
    found = ""
    for path in CONFIGS:
        config = configparser.ConfigParser(interpolation=None)
        config.read(path, encoding="utf-8")
        found = config.get("core", "remote", fallback=found)
    return found


def connect(children: Children, say: Callable[[str], None]) -> bool:
    """Make RNR_DVC_REMOTE the default remote; whether there is a default remote now. Raises RemoteError."""
    address = wanted()
    if address:
        local = configparser.ConfigParser(interpolation=None)
        local.read(CONFIGS[-1], encoding="utf-8")
        same = local.get(f"'remote \"{NAME}\"'", "url", fallback="") == address
        if not (same and local.get("core", "remote", fallback="") == NAME):
            _dvc(children, say, "remote", "add", "--local", "-f", "-d", NAME, address)
            note_unsent()
    return bool(configured())


def pull(children: Children, say: Callable[[str], None]) -> None:
    """What dvc.lock and the .dvc files name and this directory lacks; what the remote has not is left to compute."""
    _dvc(children, say, "pull", "--run-cache", "--allow-missing", "-q")


def push(children: Children, say: Callable[[str], None]) -> None:
    """Everything that the present state needs, and the run cache. Raises RemoteError; UNSENT goes on success."""
    _dvc(children, say, "push", "--run-cache", "-q")
    UNSENT.unlink(missing_ok=True)


def note_unsent() -> None:
    """From now on there may be results that the remote has not."""
    UNSENT.parent.mkdir(parents=True, exist_ok=True)
    UNSENT.touch()


def _dvc(children: Children, say: Callable[[str], None], *words: str) -> None:
    try:
        run_dvc(list(words), children, stage_environment("", 1), say)
    except StageFailed as error:
        raise RemoteError(tracking.scrub(f"dvc {words[0]}: {error}")) from error


def main() -> int:
    try:
        known = connect(Children(), lambda line: print(line, file=sys.stderr))
    except (RemoteError, dvc_graph.GraphError) as error:
        print(f"remote: {error}", file=sys.stderr)
        return 1
    print(f"default remote: {configured()}" if known else f"no remote; set {VARIABLE}=s3://BUCKET/PREFIX")
    return 0


if __name__ == "__main__":
    sys.exit(main())
