"""What the README and the guide print is right: every command exists and parses, and the slow test runs them all."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from rnr import cli
from tests.docs.printed import DOCUMENTS, commands, everything, is_mention, program, why_not_run, words
from tests.test_pipeline import clone, command_environment
from tests.tiny import REPOSITORY

BIN = Path(sys.executable).parent
# exit codes other than 0 that are right in the state in which the copy is
CODES = {
    "rnr rollback": {0, 1},  # there may be no earlier champion yet
    "rnr promote --dry-run": {0, 1},  # the gate may refuse
    "rnr doctor": {0, 1},  # the machine may lack something
}
SERVERS = ("mlflow ui",)


def test_extraction_sees_blocks_and_prose() -> None:
    text = "Run `rnr run`, not `x.py`.\n\n```sh\nmake demo   # all of it\nrnr restore a \\\n  -o out\n```\n"
    text += "```yaml\nmake: no\n```\n| `.venv/bin/dvc repro` |\n```text\nrnr nonsense\n```\n"
    assert commands(text) == ["rnr run", "make demo", "rnr restore a    -o out", ".venv/bin/dvc repro"]


@pytest.mark.parametrize(("path", "command"), everything(), ids=lambda value: str(value)[-60:])
def test_every_printed_command_exists_and_parses(path: Path, command: str, capsys) -> None:
    parts = words(command)
    name = program(command)
    if len(parts) == 1:
        assert is_mention(command)
    elif name == "rnr":
        known = next(a for a in cli.parser()._actions if a.dest == "command").choices or {}
        if is_mention(command) and parts[1] in known:
            return
        try:
            cli.parser().parse_args(parts[1:])
        except SystemExit as left:
            if left.code:
                pytest.fail(f"{path.name}: {command}: {capsys.readouterr().err}")
    elif name == "make":
        targets = re.search(r"^\.PHONY:(.*)$", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert targets and set(parts[1:]) <= set(targets[1].split()), f"{path.name}: no such target: {command}"
    elif name.startswith("python"):
        assert parts[1] == "-m", command
        assert importlib.util.find_spec(parts[2]), f"{path.name}: no module {parts[2]}"
    elif name == "dvc":
        from dvc.cli import parse_args

        parse_args(parts[1:])
    elif name == "mlflow":
        import click
        from mlflow.cli import cli as mlflow_cli

        assert mlflow_cli.get_command(click.Context(mlflow_cli), parts[1])
    else:
        assert why_not_run(command), f"{path.name}: {command}: say in tests/docs/printed.py why it is not run"


def test_every_page_of_the_guide_is_linked_and_every_link_leads_somewhere() -> None:
    index = (REPOSITORY / "docs/guide/README.md").read_text(encoding="utf-8")
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        if path.parent.name == "guide" and path.name != "README.md":
            assert f"]({path.name})" in index
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if not target.startswith("http") and not target.endswith("operations.md"):
                assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.slow
def test_every_printed_command_works_as_printed(tmp_path: Path) -> None:
    """In a fresh copy with tiny parameters, from top to bottom, README first."""
    folder = clone(tmp_path / "copy")
    (folder / "docs").mkdir(exist_ok=True)
    shutil.copytree(REPOSITORY / "docs/gallery", folder / "docs/gallery")
    prepare_photos(folder)
    (folder / ".venv").symlink_to(BIN.parent)
    for file in ("requirements.lock", "pyproject.toml"):
        os.utime(folder / file, (0, 0))
    # or make would install into the environment that runs this test
    up_to_date = subprocess.run(["make", "-q", "setup"], cwd=folder, check=False).returncode == 0
    if not up_to_date:
        pytest.skip("the environment was not made by `make setup`")
    params = (folder / "params.yaml").read_text(encoding="utf-8")
    environment = {**command_environment(folder), "VIRTUAL_ENV": str(folder / ".venv"), "PIP_NO_INDEX": "1"}
    failed, ran = [], 0
    for path, command in everything():
        if why_not_run(command) or (is_mention(command) and command.split()[1:] != ["run"]):
            continue
        line = command.replace("PAIR_ID", first_pair(folder)) if "PAIR_ID" in command else command
        if any(server in line for server in SERVERS):
            said = serve(line, folder, environment)
        else:
            done = subprocess.run(
                ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            allowed = next((codes for start, codes in CODES.items() if start in line), {0})
            said = "" if done.returncode in allowed else f"exit code {done.returncode}: {done.stderr[-600:]}"
        ran += 1
        print(f"{path.name}: {line}: {said or 'well'}", flush=True)
        if said:
            failed.append(f"{path.name}: {line}: {said}")
        # a profile for another machine was applied: back to what can be computed here
        (folder / "params.yaml").write_text(params, encoding="utf-8")
    assert not failed, "\n\n".join(failed)
    assert ran > 25


def prepare_photos(folder: Path) -> None:
    """The reader's own photos, under the names that the documents use."""
    photos = sorted((REPOSITORY / "data/photos").glob("*.jpg"))[:2]
    for name in ("holiday/fog.jpg", "p.jpg", "sharp/fog.jpg", "a/fog.jpg", "b/fog.jpg", "foggy/fog.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with Image.open(photos[0]) as image:
            image.convert("RGB").resize((256, 192)).save(folder / name)
    (folder / "my/photos").mkdir(parents=True)
    for photo in photos:
        shutil.copy(photo, folder / "my/photos")


def first_pair(folder: Path) -> str:
    from components import storage

    return str(storage.read_shards(folder / "data/pairs", "test", ["pair_id"])["pair_id"].iloc[0])


def serve(line: str, folder: Path, environment: dict[str, str]) -> str:
    """Start a server on a free port, wait until it listens, end it; what went wrong, or nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["bash", "-c", line],
        cwd=folder,
        env={**environment, "MLFLOW_PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if server.poll() is not None:
                return f"ended with exit code {server.returncode}"
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    return ""
            time.sleep(0.5)
        return f"does not listen on {port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)
