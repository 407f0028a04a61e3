"""The shell commands that the README and the guide print, and which of them a test machine cannot run, and why."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from tests.tiny import REPOSITORY

T = TypeVar("T")

DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs/guide").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
SHELLS = ("", "sh", "bash", "shell", "console")
# two words that are a whole command; `rnr restore` in a sentence only names one
TYPED_ALONE = (
    *("rnr run", "rnr app", "rnr serve", "rnr models", "rnr rollback", "rnr history", "rnr deploy", "rnr worker"),
    *("rnr watch", "rnr doctor"),
)
PROGRAMS = ("rnr", "make", "python", "python3", "dvc", "mlflow", "prefect", "git", "docker", "pip", "curl", "source")

# Commands that are not run, by how they begin without their folder, and the reason. Everything else is run as printed.
NOT_RUN = {
    "make test": "is this very suite, and so is make test-docs",
    "make lint": "is run by .ci/run",
    "make pretrain-photos": "fetches a hundred packages",
    "make pretrain-reasoner": "trains for an hour",
    "make pretrain-restorer": "trains for an hour",
    "python -m benchmarks.": "takes long, in part with packages beside requirements.lock",
    "rnr restore holiday/ -o out/ --device cuda": "needs a GPU",
    "docker": "needs a container engine",
    "git clone": "needs an address to clone from",
}

# Commands that go on until they are ended, by how they begin: the port on which they listen, or the words of the line
# by which a person sees that they are at work.
GO_ON: dict[str, int | str] = {
    "rnr app": "The page is at",
    "rnr serve": 8000,
    "mlflow ui": 5000,
    "prefect server start": 4200,
    "rnr worker": "Worker",
    "rnr watch": "photos, ",
}
# Commands that need another one at work, as the documents say beside them.
NEEDS = {
    "curl": "rnr serve",
    "rnr deploy": "prefect server start",
    "rnr worker": "prefect server start",
    "rnr watch": "prefect server start",
}


def words(command: str) -> list[str]:
    """A command as the shell splits it, without comment. Raises ValueError for open quotes."""
    return shlex.split(command, comments=True)


def program(command: str) -> str:
    """The first word without its folder."""
    return command.split()[0].rpartition("/")[2] if command.split() else ""


def commands(text: str) -> list[str]:
    """Every command printed in Markdown, in order, each once: lines of shell blocks and code in the prose."""
    found: dict[str, None] = {}
    prose_from = 0
    for block in [*FENCE.finditer(text), None]:
        prose = text[prose_from : block.start() if block else len(text)]
        for code in INLINE.findall(prose):
            if program(code) in PROGRAMS and not code.startswith(("http", "--")):
                found[code.strip()] = None
        if block:
            prose_from = block.end()
            if block[1] in SHELLS:
                lines = block[2].replace("\\\n", " ").splitlines()
                found |= {line.split(" #")[0].strip(): None for line in lines if program(line) in PROGRAMS}
    return list(found)


def is_mention(command: str) -> bool:
    """`dvc` or `rnr restore` in a sentence names the command; it does not tell anybody to type just that."""
    return len(command.split()) == 1 or (len(command.split()) == 2 and command.startswith("rnr"))


def everything() -> list[tuple[Path, str]]:
    """(document, command) of all documents."""
    return [(path, command) for path in DOCUMENTS for command in commands(path.read_text(encoding="utf-8"))]


def plain(command: str) -> str:
    """A command without the folder of its program: .venv/bin/rnr run -> rnr run."""
    first, space, rest = command.partition(" ")
    return first.rpartition("/")[2] + space + rest


def entry(table: Mapping[str, T], command: str) -> T | None:
    """What a table says of a command, by how it begins."""
    return next((value for start, value in table.items() if plain(command).startswith(start)), None)


def to_run() -> list[tuple[Path, str]]:
    """(document, command) of all that a person would type, README first, each once.

    `source .venv/bin/activate` lets people leave out the folder of a program, so both spellings are one command.
    """
    found: dict[str, tuple[Path, str]] = {}
    for path, command in everything():
        if entry(NOT_RUN, command) or (is_mention(command) and plain(command) not in TYPED_ALONE):
            continue
        found.setdefault(plain(command), (path, command))
    return list(found.values())
