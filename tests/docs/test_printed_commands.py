"""What the README and the guide print is right: every command exists and parses, and the slow test runs them all.

make test-docs        # runs every printed command in a fresh clone with tiny parameters (ten minutes)
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from rnr import cli
from tests.docs.person import Person
from tests.docs.printed import (
    DOCUMENTS,
    GO_ON,
    NOT_RUN,
    commands,
    entry,
    everything,
    is_mention,
    plain,
    program,
    to_run,
    words,
)
from tests.test_pipeline import clone, command_environment
from tests.tiny import REPOSITORY

BIN = Path(sys.executable).parent


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
        known_how = name in ("curl", "source") or bool(entry(NOT_RUN, command)) or bool(entry(GO_ON, command))
        assert known_how, f"{path.name}: {command}: say in tests/docs/printed.py how it is run, or why not"


def test_both_spellings_are_one_command() -> None:
    run = [plain(command) for _, command in to_run()]
    assert {"make demo", "make setup", "rnr app", "rnr serve", "rnr deploy", "rnr restore holiday/ -o out/"} <= set(run)
    assert len(set(run)) == len(run)
    assert "rnr restore" not in run
    # few enough to be read
    assert len(NOT_RUN) < 10


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
    """In a fresh clone with tiny parameters, from top to bottom, README first; servers too, on their printed ports.

    A profile for another machine is applied as printed and then taken back, so that what follows can be computed here.
    """
    folder = clone(tmp_path / "clone")
    shutil.copytree(REPOSITORY / "docs", folder / "docs", dirs_exist_ok=True)
    prepare_photos(folder)
    (folder / ".venv").symlink_to(BIN.parent)
    for file in ("requirements.lock", "pyproject.toml"):
        # older than the environment, as they are after `make setup`
        os.utime(folder / file, (0, 0))
    up_to_date = subprocess.run(["make", "-q", "setup"], cwd=folder, check=False).returncode == 0
    assert up_to_date, "this environment was not made by `make setup`; the clone would install one of its own"
    params = (folder / "params.yaml").read_text(encoding="utf-8")
    environment = {**command_environment(folder), "VIRTUAL_ENV": str(folder / ".venv"), "PIP_NO_INDEX": "1"}
    person = Person(folder, environment)
    failed, ran = [], 0
    try:
        for path, command in to_run():
            line = command.replace("PAIR_ID", first_pair(folder)) if "PAIR_ID" in command else command
            began = time.monotonic()
            said = person.type(line)
            ran += 1
            print(f"{time.monotonic() - began:6.1f} s  {path.name}: {line}: {said or 'well'}", flush=True)
            if said:
                failed.append(f"{path.name}: {line}: {said}")
            (folder / "params.yaml").write_text(params, encoding="utf-8")
    finally:
        person.leave()
    for path, command in everything():
        if why := entry(NOT_RUN, command):
            print(f" not run  {path.name}: {command}: {why}", flush=True)
    assert not failed, f"{len(failed)} of {ran} failed\n\n" + "\n\n".join(failed)
    assert ran > 40
    # what they left behind, as the documents promise
    for left in ("restored.jpg", "out/fog.jpg", "out/fog.jpg.diagnosis.json", "reports/index.html", "demo", "foggy"):
        assert (folder / left).exists(), left


def prepare_photos(folder: Path) -> None:
    """The reader's own photos, under the names that the documents use."""
    photos = sorted((REPOSITORY / "data/photos").glob("*.jpg"))[:2]
    for name in ("fog.jpg", "holiday/fog.jpg", "p.jpg", "sharp/fog.jpg", "a/fog.jpg", "b/fog.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with Image.open(photos[0]) as image:
            image.convert("RGB").resize((256, 192)).save(folder / name)
    (folder / "my/photos").mkdir(parents=True)
    for photo in photos:
        shutil.copy(photo, folder / "my/photos")


def first_pair(folder: Path) -> str:
    from components.storage import parquet

    return str(parquet.read_split(folder / "data/pairs", "test", ["pair_id"])["pair_id"].iloc[0])
