"""The reference of commands and parameters, written from the code so that the two cannot differ.

    python -m rnr.reference > docs/reference.md

Commands come from the parser of `rnr`, parameters from the models that read params.yaml and from its comments, modules
from their docstrings, environment variables from the calls that read them.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from components import params
from components.diagnosis import BLUR_KINDS, FACTORS, GROUNDS, TYPES
from flows.preflight import SECTIONS
from rnr import cli

ROOT = Path(__file__).resolve().parent.parent
# a key of params.yaml with its comment: two spaces, key, value, "# words"
COMMENTED = re.compile(r"^  (\w+):[^#]*?#\s*(.*)$")
BOUNDS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
BOUNDS |= {"multiple_of": "a multiple of {}", "min_length": "at least {} long", "max_length": "at most {} long"}
HEAD = """# Reference

Written by `python -m rnr.reference` from the code; a test holds the two together. For how to use it all, see the
[guide](guide/README.md).
"""


def reference(root: Path = ROOT) -> str:
    """The whole page as Markdown. Raises ParamsError when params.yaml cannot be read."""
    parts = [
        HEAD,
        commands(),
        parameters(root),
        degradations(),
        profiles(root),
        make_targets(root),
        modules(root),
        environment(root),
    ]
    return "\n".join(parts).rstrip() + "\n"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; pipes in cells are escaped."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def commands() -> str:
    """Every command of `rnr`, its arguments and defaults."""
    parts = [
        "## Commands\n",
        "Exit codes: 0 done, 1 some inputs failed or the answer is no (each named on stderr), 2 wrong use.\n",
    ]
    subparsers = next(a for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name, parser in subparsers.choices.items():
        actions = [a for a in parser._actions if not isinstance(a, argparse._HelpAction)]
        usage = " ".join([f"rnr {name}", *(_usage(action) for action in actions)])
        rows = [(f"`{_names(action)}`", _meaning(action)) for action in actions]
        parts += [f"### rnr {name}\n", f"{_sentence(parser.description or '')}\n", f"    {usage}\n"]
        parts.append(table(("argument", "meaning"), rows))
    return "\n".join(parts)


def _usage(action: argparse.Action) -> str:
    value = _value(action)
    if not action.option_strings:
        return {None: value, "?": f"[{value}]", "*": f"[{value} ...]", "+": f"{value} [{value} ...]"}[action.nargs]  # type: ignore[index]
    text = f"{action.option_strings[0]} {value}".strip()
    return text if action.required else f"[{text}]"


def _names(action: argparse.Action) -> str:
    return f"{', '.join(action.option_strings)} {_value(action)}".strip()


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return str(action.metavar or action.dest.upper())


def _meaning(action: argparse.Action) -> str:
    told = (action.help or "").replace("%(default)s", str(action.default))
    default = action.default
    if default in (None, False, True) or "default" in told or action.required or default == argparse.SUPPRESS:
        return told
    return f"{told} (default: {default})"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def parameters(root: Path) -> str:
    """Every section of params.yaml: the model that reads it, defaults of the file, bounds, comments."""
    values = params.read_file(root / params.PARAMS_FILE)
    meanings = comments((root / params.PARAMS_FILE).read_text(encoding="utf-8"))
    parts = ["## Parameters\n", "Of `params.yaml`; the default is what the file has. Unknown keys are refused.\n"]
    for section, (module, name) in SECTIONS.items():
        model = getattr(importlib.import_module(module), name)
        rows = [
            (f"`{key}`", f"`{_plain(values[section][key])}`", allowed(field), meanings.get((section, key), ""))
            for key, field in model.model_fields.items()
        ]
        parts += [f"### {section}\n", " ".join((model.__doc__ or "").split()) + "\n"]
        parts.append(table(("key", "default", "allowed", "meaning"), rows))
    return "\n".join(parts)


def comments(text: str) -> dict[tuple[str, str], str]:
    """(section, key) -> the comment behind it in the text of params.yaml."""
    found: dict[tuple[str, str], str] = {}
    section = ""
    for line in text.splitlines():
        if head := re.match(r"^(\w+):", line):
            section = head[1]
        elif told := COMMENTED.match(line):
            found[section, told[1]] = told[2]
    return found


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return '""' if value == "" else str(value)


def allowed(field: Any) -> str:
    """Type and bounds of a pydantic field in words."""
    bounds = []
    for rule in field.metadata:
        bounds += [words.format(getattr(rule, name)) for name, words in BOUNDS.items() if hasattr(rule, name)]
    return ", ".join([_type(field.annotation), *bounds])


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is list:
        return f"list of {_type(get_args(annotation)[0])}"
    if isinstance(annotation, UnionType):
        return " or ".join(_type(part) for part in get_args(annotation))
    return {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}[annotation]


def profiles(root: Path) -> str:
    """What `rnr profile apply NAME` would change."""
    rows = []
    for path in sorted((root / "profiles").glob("*.yaml")):
        patch = params.read_file(path)
        changed = [f"`{s}.{k}: {_plain(v)}`" for s, part in patch.items() for k, v in part.items()]
        rows.append((f"`{path.stem}`", ", ".join(changed)))
    return f"## Profiles\n\n{table(('profile', 'sets'), rows)}"


def degradations() -> str:
    """The types of a diagnosis, the evidence that speaks for each, and its factors."""
    rows = []
    for kind in TYPES:
        factors = [f"`{name}` {low:g} to {high:g} ({unit})" for name, (unit, low, high) in FACTORS[kind].items()]
        if kind == "blur":
            factors.insert(0, f"`kind`: {', '.join(BLUR_KINDS)}")
        rows.append((f"`{kind}`", f"{GROUNDS[kind][0].replace('_', ' ')}: {GROUNDS[kind][1]}", ", ".join(factors)))
    return f"## Degradations\n\n{table(('type', 'evidence', 'factors'), rows)}"


def make_targets(root: Path) -> str:
    """The head of the Makefile, which names its targets."""
    head = []
    for line in (root / "Makefile").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        head.append(line.removeprefix("#"))
    return "## make\n\n```text\n" + "\n".join(line.removeprefix(" ") for line in head) + "\n```\n"


def modules(root: Path) -> str:
    """Every module that can be run, by the first paragraph of its docstring."""
    rows = []
    for path in _sources(root, ("components", "flows", "rnr", "benchmarks")):
        text = path.read_text(encoding="utf-8")
        if '__name__ == "__main__"' in text:
            first = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            rows.append((f"`python -m {name}`", " ".join(first.split())))
    return f"## Modules that run\n\n{table(('command', 'what it does'), rows)}"


def environment(root: Path) -> str:
    """The environment variables that the code itself reads; libraries read others."""
    readers: dict[str, set[str]] = {}
    for path in _sources(root, ("components", "flows", "rnr")):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for name in variables(ast.parse(path.read_text(encoding="utf-8"))):
            readers.setdefault(name, set()).add(f"`{module}`")
    rows = [(f"`{name}`", ", ".join(sorted(where))) for name, where in sorted(readers.items())]
    return f"## Environment variables\n\n{table(('variable', 'read by'), rows)}"


def variables(tree: ast.AST) -> Iterator[str]:
    """Names in capitals that are given to os.environ[...], os.environ.get(...) or os.getenv(...), or that stand in an
    assignment to something called ..._VARIABLE or ..._VARIABLES."""
    for node in ast.walk(tree):
        where: ast.AST | None = None
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            where = node.slice
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv") and node.args:
            where = node.args[0]
        elif isinstance(node, ast.Assign) and re.search(r"_VARIABLES?\b", ast.unparse(node.targets[0])):
            where = node.value
        for part in ast.walk(where) if where else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.isupper():
                yield part.value


def _sources(root: Path, tops: tuple[str, ...]) -> list[Path]:
    return sorted(path for top in tops for path in (root / top).rglob("*.py"))


if __name__ == "__main__":
    try:
        sys.stdout.write(reference())
    except params.ParamsError as error:
        sys.exit(f"reference: {error}")
