"""What can be known of docker/ without an engine: the files agree with the repository, with one another and the rules.

No image is built and no container started here.
"""

from __future__ import annotations

import fnmatch
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tiny import REPOSITORY

DOCKER = REPOSITORY / "docker"
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|AUTH_STRING|ACCESS_KEY(?!_ID)")
# VARIABLE, VARIABLE:-default, VARIABLE:?message
VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")
EXAMPLE = {
    name: value
    for name, _, value in (
        line.partition("=") for line in (DOCKER / ".env.example").read_text().splitlines() if re.match(r"\w+=", line)
    )
}


def instructions() -> list[tuple[str, str]]:
    """(FROM, "python:... AS base") and so on, lines joined, comments and continuations gone."""
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def arguments() -> dict[str, str]:
    return dict(words.partition("=")[::2] for kind, words in instructions() if kind == "ARG" and "=" in words)


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    """The file with its variables put in, as the example has them; whatever must be set is set to "given"."""

    def value(found: re.Match) -> str:
        name, how, rest = found.groups()
        return EXAMPLE.get(name) or (rest if how == ":-" else "given")

    return yaml.safe_load(VARIABLE.sub(value, (DOCKER / name).read_text()))


SERVICES: dict[str, dict[str, Any]] = compose()["services"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_stages_follow_from_one_another_and_images_are_pinned(device: str) -> None:
    given = arguments() | {"DEVICE": device}
    known: set[str] = set()
    for kind, words in instructions():
        if kind == "FROM":
            image, _, stage = re.sub(r"\$\{(\w+)\}", lambda name: given[name[1]], words).partition(" AS ")
            if image not in known:
                tag = image.partition(":")[2]
                assert re.match(r"\d+\.\d+", tag), f"{image} is neither a stage before nor a version"
            known.add(stage)
        for source in re.findall(r"--from=(\S+)", words):
            assert source in known, words
    assert {"final", f"runtime-{device}"} <= known


def test_every_copied_file_is_there_and_reaches_the_builder() -> None:
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    copied = [words.split() for kind, words in instructions() if kind == "COPY" and "--from" not in words]
    sources = [word for words in copied for word in words[:-1] if not word.startswith("--")]
    assert len(sources) > 8
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert any(source == name or source.startswith(f"{name}/") for name in let_in), f"{source} is ignored"
    # nothing is let in that is not copied, and the file with the secrets never is
    assert set(let_in) <= {source.split("/")[0] for source in sources}
    assert any(fnmatch.fnmatch("docker/.env", line) for line in ignored)
    tracked = subprocess.run(["git", "ls-files", "docker"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "docker/.env" not in tracked.stdout.split()


def test_the_image_runs_as_nobody_special_and_is_watched() -> None:
    kinds = [kind for kind, _ in instructions()]
    users = [words for kind, words in instructions() if kind == "USER"]
    assert users[-1] == "rnr"
    assert kinds.index("HEALTHCHECK") > kinds.index("USER") > len(kinds) - 1 - kinds[::-1].index("RUN")
    assert not [words for kind, words in instructions() if kind in ("ENV", "ARG") and SECRET.search(words)]
    # packages before code: a changed line of code costs no new installation
    assert kinds.count("RUN") <= 4
    copies = [words for kind, words in instructions() if kind == "COPY"]
    assert "requirements.lock" in copies[0] and "components" in copies[-3]


def test_the_lock_is_what_is_installed(tmp_path: Path) -> None:
    lock = REPOSITORY / "requirements.lock"

    def said(*words: str) -> str:
        argv = ["sh", str(DOCKER / "install.sh"), "echo", str(lock), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    for device in ("cpu", "cuda"):
        assert f"--no-deps --no-build-isolation -r {lock}" in said(device, "")
    lean = said("cpu", "https://index.example/cpu").splitlines()
    assert re.search(r"--index-url https://index\.example/cpu torch==\S+ torchvision==\S+$", lean[1])
    # pip would be asked for a list without them: read what grep leaves
    pattern = re.search(r"grep -vE '([^']+)'", (DOCKER / "install.sh").read_text())
    assert pattern
    left = [line for line in lock.read_text().splitlines() if not re.match(pattern[1], line)]
    dropped = set(lock.read_text().splitlines()) - set(left)
    assert any(line.startswith("nvidia-cublas") for line in dropped)
    assert all(re.match(r"torch|triton|nvidia|cuda", line) for line in dropped)


def test_no_secret_stands_in_any_file_and_every_variable_is_explained() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    for name, how, _ in VARIABLE.findall(text):
        assert name in EXAMPLE, f"{name} is not in .env.example"
        # what has no value in the example must be given; compose refuses without
        assert (how == ":?") == (not EXAMPLE[name]), name
    for name, value in EXAMPLE.items():
        assert name in text
        assert not (SECRET.search(name) and value), f"{name} has a value in the example"
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                assert "given" in value, f"{name}: {variable} has a value of its own"


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_pinned_watched_and_closed_to_the_outside(name: str) -> None:
    service = SERVICES[name]
    tag = service["image"].partition(":")[2]
    assert tag in ("cpu", "cuda") or re.match(r"\d+\.\d+", tag)
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")
    runs_once = service["restart"].startswith("on-failure")
    # the worker is watched by the image's own check and by the automation for dead runs
    assert runs_once or name == "worker" or "test" in service["healthcheck"]
    for needed, how in service.get("depends_on", {}).items():
        once = SERVICES[needed]["restart"].startswith("on-failure")
        assert how["condition"] == ("service_completed_successfully" if once else "service_healthy")
    for volume in service.get("volumes", []):
        source = volume.partition(":")[0]
        assert (DOCKER / source).exists() if source.startswith(".") else source in compose()["volumes"]


def test_every_command_is_one_of_ours() -> None:
    from rnr import cli

    for service in SERVICES.values():
        command = service.get("command", [])
        if command[:1] == ["python"] or command[:1] == ["sh"]:
            assert (REPOSITORY / command[1]).exists()
        # `rnr serve` answers over HTTP and has tests of its own
        if command[:1] == ["rnr"] and command[1] != "serve":
            assert cli.parser().parse_args(command[1:]).command == command[1]
    assert compose("compose.cuda.yaml")["services"].keys() <= SERVICES.keys()
    for script in DOCKER.glob("*.sh"):
        subprocess.run(["sh", "-n", str(script)], check=True)


def test_the_servers_get_what_the_integration_test_gives_them() -> None:
    """tests/operations/services.py starts the same commands with the same variables; this holds the two together."""
    tested = (REPOSITORY / "tests/operations/services.py").read_text()
    for name in ("mlflow", "prefect", "worker"):
        for variable in SERVICES[name]["environment"]:
            # one is for browsers, one for the clone that the test makes itself
            assert f'"{variable}"' in tested or variable in ("PREFECT_SERVER_UI_API_URL", "RNR_GIT_URL"), variable
    for option in ("--artifacts-destination", "--allowed-hosts"):
        assert option in tested and any(option in word for word in SERVICES["mlflow"]["command"])


@pytest.fixture
def answering() -> Iterator[str]:
    """A server that answers 200, 401 or 500 as the path says."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path[1:]))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_health_check_tells_well_from_ill(answering: str) -> None:
    def health(*words: str) -> int:
        argv = [sys.executable, str(DOCKER / "health.py"), *words]
        return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, check=False).returncode

    assert health(f"{answering}/200") == health(f"{answering}/401") == 0
    assert health(f"{answering}/500") == health("http://127.0.0.1:9/") == 1
