"""`rnr profile`: profiles/NAME.yaml is a patch to params.yaml; applying one rewrites the file, comments kept."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path
from typing import Any

from components import params, params_edit
from rnr import console

PROFILES = Path("profiles")


def names() -> list[str]:
    """The profiles that there are."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    """The patch `name`. Raises WrongUse when there is none, ParamsError when it is not YAML with sections."""
    if name not in names():
        known = ", ".join(names()) or f"none; put NAME.yaml into {PROFILES}/"
        raise console.WrongUse(f"profile {name}: no such profile; there are: {known}")
    return params.read_file(PROFILES / f"{name}.yaml")


def changes(patch: dict[str, Any], current: dict[str, Any], where: str, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (value now, value after), for every value of the patch that differs.

    Raises ParamsError for a key that `current` does not have, and for a value of another kind.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for key, value in patch.items():
        dotted = f"{path}{key}"
        if key not in current:
            close = difflib.get_close_matches(str(key), [str(known) for known in current], n=1)
            hint = f"; did you mean '{path}{close[0]}'?" if close else ""
            raise params.ParamsError(f"{where}: {dotted}: no such key in {params.PARAMS_FILE}{hint}")
        if isinstance(value, dict) and isinstance(current[key], dict):
            found |= changes(value, current[key], where, f"{dotted}.")
        elif _kind(value) != _kind(current[key]) and (_kind(value), _kind(current[key])) != ("int", "float"):
            raise params.ParamsError(
                f"{where}: {dotted}: {value!r} is {_kind(value)}, {params.PARAMS_FILE} has {_kind(current[key])}"
            )
        elif value != current[key]:
            found[dotted] = (current[key], value)
    return found


def _kind(value: object) -> str:
    """Plain kind of a YAML value, whichever class of ruamel or PyYAML carries it."""
    for kind in (bool, int, float, str, list, dict):
        if isinstance(value, kind):
            return kind.__name__
    return type(value).__name__


def apply(name: str) -> dict[str, tuple[Any, Any]]:
    """Merge profile `name` into params.yaml, which is rewritten whole or not at all; returns what changed."""
    patch = read(name)
    changed = changes(patch, params.read_file(), str(PROFILES / f"{name}.yaml"))
    if not changed:
        return changed
    params_edit.change({dotted: after for dotted, (_, after) in changed.items()})
    return changed


def command(args: argparse.Namespace) -> int:
    """`rnr profile list | show NAME | apply NAME`."""
    if args.what == "list":
        if args.name:
            raise console.WrongUse("profile list: takes no name")
        told = names()
        if args.json:
            console.put_json(told)
        else:
            print("\n".join(told) or f"no profile in {PROFILES}/")
        return console.OK
    if not args.name:
        raise console.WrongUse(f"profile {args.what}: which one? there are: {', '.join(names()) or 'none'}")
    if args.what == "show":
        patch = read(args.name)
        if args.json:
            console.put_json(patch)
        else:
            print((PROFILES / f"{args.name}.yaml").read_text(encoding="utf-8"), end="")
        return console.OK
    changed = apply(args.name)
    if args.json:
        console.put_json({key: {"before": before, "after": after} for key, (before, after) in changed.items()})
    elif changed:
        rows = [(key, str(before), str(after)) for key, (before, after) in changed.items()]
        console.put_table(("key", "before", "after"), rows)
        print(f"{params.PARAMS_FILE} rewritten; `rnr run` computes with it")
    else:
        print(f"{params.PARAMS_FILE} has all values of profile {args.name} already")
    return console.OK
