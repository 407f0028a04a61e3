"""docs/reference.md is what the code says."""

from __future__ import annotations

import argparse
import ast

from flows.preflight import SECTIONS
from rnr import cli, reference
from tests.tiny import REPOSITORY


def test_the_committed_reference_is_that_of_the_code() -> None:
    text = (REPOSITORY / "docs/reference.md").read_text(encoding="utf-8")
    assert text == reference.reference(), "run python -m rnr.reference > docs/reference.md"


def test_it_names_every_command_option_section_and_key() -> None:
    text = reference.reference()
    subparsers = next(a for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name, parser in subparsers.choices.items():
        part = text.partition(f"### rnr {name}\n")[2].partition("\n### ")[0]
        for action in parser._actions:
            for option in action.option_strings:
                assert option in part or option in ("-h", "--help"), (name, option)
    for section in SECTIONS:
        assert f"### {section}\n" in text
    assert "| `lora_rank` | `16` | whole number, at least 1 | of the adapters, where tuning is lora |" in text
    assert "| `tuning` | `lora` | `full` or `lora` | or full |" in text


def test_variables_are_found_however_they_are_read() -> None:
    code = 'import os\nA = os.environ["ONE"]\nB = os.environ.get("TWO", "x")\nKEY_VARIABLES = ("THREE", "FOUR")\n'
    code += 'C_VARIABLE, C = "FIVE", 5\nD = os.getenv("SIX")\nE = "SEVEN"\n'
    assert set(reference.variables(ast.parse(code))) == {"ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX"}
