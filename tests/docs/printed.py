"""The shell commands that the README and the guide print, and which of them a test machine cannot run, and why."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.tiny import REPOSITORY

DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs/guide").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
SHELLS = ("", "sh", "bash", "shell", "console")
PROGRAMS = ("rnr", "make", "python", "python3", "dvc", "mlflow", "prefect", "git", "docker", "pip", "curl", "source")

# Commands that are not run, by how they begin, and the reason. Everything else is run as printed.
NOT_RUN = {
    "make test": "is this very suite",
    "make lint": "is run by .ci/run",
    "make setup": "needs a package index and ten minutes; here the environment is there already",
    "make pretrain": "fetches a hundred packages, or trains for an hour",
    "source .venv/bin/activate": "changes the shell of a person",
    ".venv/bin/python -m benchmarks.": "takes long, in part with packages beside requirements.lock",
    "python -m benchmarks.": "takes long, in part with packages beside requirements.lock",
    ".venv/bin/rnr restore holiday/ -o out/ --device cuda": "needs a GPU",
    "docker": "needs a container engine",
    "git clone": "needs an address to clone from",
    "prefect": "needs a Prefect server",
    ".venv/bin/prefect": "needs a Prefect server",
    "rnr deploy": "needs a Prefect server, with tests of its own",
    "rnr worker": "needs a Prefect server, with tests of its own",
    ".venv/bin/rnr deploy": "needs a Prefect server, with tests of its own",
    ".venv/bin/rnr worker": "needs a Prefect server, with tests of its own",
    "curl": "needs a running endpoint",
    "rnr serve": "is a server with tests of its own",
    ".venv/bin/rnr serve": "is a server with tests of its own",
    "rnr app": "is a server with tests of its own",
    ".venv/bin/rnr app": "is a server with tests of its own",
    "rnr watch": "waits for photos, with tests of its own",
    ".venv/bin/rnr watch": "waits for photos, with tests of its own",
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


def why_not_run(command: str) -> str | None:
    """The reason of NOT_RUN, or None for a command that is run."""
    return next((why for start, why in NOT_RUN.items() if command.startswith(start)), None)
