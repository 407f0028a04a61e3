"""The services of `rnr doctor`: MLflow, Prefect, PostgreSQL's drivers and DVC's remotes, each asked once."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from components import tracking
from rnr import lock
from rnr.checks import FAIL, OK, WARN, Check

SECONDS = 5.0  # for one answer
# DVC says "does not exist" of an empty remote and of one that refuses or cannot be reached
UNREACHABLE = re.compile(
    r"connect|refused|time[d ]*out|resolve|ssl|\b40[13]\b|denied|NoSuchBucket|credential", re.IGNORECASE
)
REMOTE_SECONDS = 30.0  # DVC starts, and its client tries more than once
# where the addresses of databases stand; the first is also a server's address
DATABASES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_BACKEND_STORE_URI",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_API_DATABASE_CONNECTION_URL",
)
DRIVERS = {"psycopg2": "MLflow", "asyncpg": "Prefect"}


def answer(address: str, authorization: str | None = None) -> str:
    """The text at an address; its user and password go as a header. Raises OSError with a reason in words."""
    parts = urlsplit(address)
    if parts.username is not None and authorization is None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = urllib.request.Request(plain, headers={"Authorization": authorization} if authorization else {})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as got:
            return got.read(10_000).decode("utf-8", "replace").strip()
    except urllib.error.HTTPError as error:
        raise OSError(f"answers {error.code}") from None
    except urllib.error.URLError as error:
        raise OSError(f"cannot be reached ({getattr(error.reason, 'strerror', None) or error.reason})") from None
    except OSError as error:
        raise OSError(f"does not answer ({error.strerror or type(error).__name__})") from None


def versions(name: str, theirs: str, where: str) -> Check:
    """A server that answers, with its version held against the lock's."""
    ours = lock.pins().get(name)
    told = f"{where}, version {theirs}"
    if ours and theirs.split(".")[:2] != ours.split(".")[:2]:
        return Check(
            f"{name} server",
            WARN,
            f"{told}; pinned here is {ours}",
            "run the version of requirements.lock on the server",
        )
    return Check(f"{name} server", OK, told)


def mlflow() -> Iterator[Check]:
    """The store of MLFLOW_TRACKING_URI."""
    address = tracking.uri()
    shown, scheme = tracking.scrub(address), urlsplit(address).scheme
    if scheme not in ("http", "https"):
        yield Check("mlflow server", OK, f"{shown} (no server)")
        return
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    header = f"Bearer {token}" if token else None
    if user and not token:
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        header = f"Basic {base64.b64encode(pair.encode()).decode()}"
    try:
        answer(f"{address.rstrip('/')}/health", header)
        version = answer(f"{address.rstrip('/')}/version", header)
    except OSError as error:
        remedy = "start it (docs/security.md has the command), or correct MLFLOW_TRACKING_URI"
        if "403" in str(error):
            remedy = "start it with --allowed-hosts that names this host and port"
        elif "401" in str(error):
            remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        yield Check("mlflow server", FAIL, f"{shown} {error}", remedy)
        return
    yield versions("mlflow", version, shown)


def prefect() -> Iterator[Check]:
    """The server of PREFECT_API_URL."""
    address = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if not address:
        yield Check("prefect server", OK, "no PREFECT_API_URL: every run starts a server of its own")
        return
    shown = tracking.scrub(address)
    key, pair = os.environ.get("PREFECT_API_KEY"), os.environ.get("PREFECT_API_AUTH_STRING")
    header = f"Bearer {key}" if key else f"Basic {base64.b64encode(pair.encode()).decode()}" if pair else None
    try:
        answer(f"{address}/health", header)
        version = answer(f"{address}/admin/version", header)
        version = str(json.loads(version))
    except (OSError, ValueError) as error:
        remedy = "start it (`prefect server start`), or correct PREFECT_API_URL, which ends in /api"
        if "401" in str(error):
            remedy = "set PREFECT_API_AUTH_STRING or PREFECT_API_KEY"
        yield Check(
            "prefect server",
            FAIL,
            f"{shown} {error}" if isinstance(error, OSError) else f"{shown} is no Prefect",
            remedy,
        )
        return
    yield versions("prefect", version, shown)


def postgres() -> Iterator[Check]:
    """The drivers, where an address asks for PostgreSQL."""
    needed = any(os.environ.get(name, "").startswith("postgres") for name in DATABASES)
    missing = [f"{name} (for {whose})" for name, whose in DRIVERS.items() if importlib.util.find_spec(name) is None]
    if missing:
        told = f"not installed: {', '.join(missing)}" + ("" if needed else "; needed for databases of a team only")
        yield Check("postgres", FAIL if needed else WARN, told, "run `make setup`")
    else:
        yield Check("postgres", OK, f"drivers {', '.join(DRIVERS)}")


def _dvc(*words: str) -> tuple[int, list[str]]:
    argv = [sys.executable, "-m", "dvc", *words]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=REMOTE_SECONDS, check=False)
    return run.returncode, (run.stdout if run.returncode == 0 else run.stderr or run.stdout).strip().splitlines()


def remotes() -> Iterator[Check]:
    """Every remote of DVC is listed once at its top: by DVC's command, whose configuration and credentials count."""
    # `dvc remote list` breaks long addresses over lines
    code, lines = _dvc("config", "--list")
    if code or not Path(".dvc").is_dir():
        yield Check("remotes", WARN, "DVC knows no repository here", "run from the top of the repository")
        return
    matches = (re.fullmatch(r"remote\.(.+)\.url=(.*)", line) for line in lines)
    found: dict[str, str] = {match[1]: match[2] for match in matches if match}
    if not found:
        yield Check(
            "remotes", WARN, "none: results stay on this machine", "`dvc remote add -d NAME s3://BUCKET/PREFIX`"
        )
    for name, address in found.items():
        shown = f"{name} at {tracking.scrub(address)}"
        try:
            code, said = _dvc("ls-url", f"remote://{name}/")
        except subprocess.TimeoutExpired:
            code, said = 1, [f"no answer within {REMOTE_SECONDS:g} s"]
        reason = tracking.scrub(said[-1] if said else "no reason given").removeprefix("ERROR: ")
        if code == 0:
            yield Check("remote", OK, shown)
        elif "does not exist" in reason and not UNREACHABLE.search(reason):
            yield Check("remote", WARN, f"{shown}: nothing is there yet", "`dvc push` fills it")
        else:
            remedy = f"check the address (`dvc remote modify {name} url ...`), credentials and endpoint"
            yield Check("remote", FAIL, f"{shown}: {reason}", remedy)
