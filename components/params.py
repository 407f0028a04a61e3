"""The one reader of `params.yaml`: strict, typed, one section per stage.

Each stage owns a frozen pydantic model of its section (`class Params(Section)` in its package);
`load` fills it or raises `ParamsError` with one line that names the key and what is allowed.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

PARAMS_FILE = "params.yaml"


class ParamsError(ValueError):
    """params.yaml is not what a stage needs; the message is one line for the user."""


class Section(BaseModel):
    """Base of every section: frozen, strict types, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=Section)


def read_file(path: str | Path = PARAMS_FILE) -> dict:
    """The whole file as a dictionary of sections. Raises ParamsError if it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except FileNotFoundError:
        raise ParamsError(f"{path}: not found; run from the top of the repository ({os.getcwd()})") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: expected sections such as 'ingest:', found {type(content).__name__}")
    return content


def load(section: str, model: type[S], path: str | Path = PARAMS_FILE) -> S:
    """Section `section` of `path` as a `model`. Raises ParamsError naming the first wrong key."""
    content = read_file(path)
    if section not in content:
        raise ParamsError(f"{path}: section '{section}' is missing; found: {', '.join(sorted(content))}")
    return parse(section, content[section], model, path)


def parse(section: str, values: object, model: type[S], path: str | Path = PARAMS_FILE) -> S:
    """`values` as a `model`, or ParamsError."""
    if not isinstance(values, dict):
        raise ParamsError(f"{path}: section '{section}' must hold keys, found {values!r}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ParamsError(f"{path}: {_explain(section, model, error)}") from None


def _explain(section: str, model: type[Section], error: ValidationError) -> str:
    # a misspelt key is unknown and missing at once: the unknown one is what the user wrote
    first = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    key = ".".join([section, *(str(part) for part in first["loc"])])
    if first["type"] == "extra_forbidden":
        known = list(model.model_fields)
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        return f"{key}: unknown key; {hint}allowed: {', '.join(known)}"
    if first["type"] == "missing":
        return f"{key}: missing; add it to section '{section}'"
    return f"{key}: {first['msg'][0].lower()}{first['msg'][1:]}, found {first['input']!r}"
