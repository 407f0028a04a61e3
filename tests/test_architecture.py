"""The walls of docs/design: what may import what. Read from the syntax trees, nothing is run."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import REPOSITORY

# Rooms of components/ from the ground up; a room imports only from floors below its own, or itself.
FLOORS: list[set[str]] = [
    {"lifeline", "muon", "redaction"},
    {"diagnosis", "params", "tracking", "storage"},
    {"params_edit"},
    {"annotation", "degradations", "photos"},
    {"synthesis"},
    {"reasoner"},
    {"restorer"},
    {"refinement", "inference"},
    {"serving", "evaluation"},
    {"promotion"},
    {"report"},
]
LEVEL = {room: level for level, floor in enumerate(FLOORS) for room in floor}
# library -> where alone it may be imported
DOORS = {
    "prefect": ("flows.",),
    "mlflow": ("components.tracking.", "components.serving."),
    "dvc": ("flows.dvc_graph",),
    "boto3": ("components.storage.s3",),
    "botocore": ("components.storage.s3",),
    "openai": ("components.annotation.endpoint",),
    "fastapi": ("components.serving.api.", "rnr.app."),
    "prometheus_client": ("components.serving.metrics",),
}
# What a bare GPU machine has: torch and transformers (with safetensors), numbers, pictures, parameters.
CORE_ROOMS = {"reasoner", "restorer", "refinement", "degradations", "inference"}
CORE_LIBRARIES = {"torch", "transformers", "safetensors", "tokenizers", "numpy", "pandas", "pyarrow", "PIL", "pydantic"}
CORE_LIBRARIES |= {"yaml", "tqdm", "components"}
LONGEST_FILE = 350

MODULES = sorted(path for top in ("components", "flows", "rnr") for path in (REPOSITORY / top).rglob("*.py"))


def module_name(path: Path) -> str:
    """components/photos/decode.py -> components.photos.decode; a package's __init__ ends in a dot."""
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix("__init__")


def room(module: str) -> str:
    return module.split(".")[1]


def imports(path: Path, top_level_only: bool = False) -> Iterator[str]:
    """Full names that a file imports; `from a import b` gives a.b, which may be a module or a name in one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.relative_to(REPOSITORY).parent.parts
    for node in module_level(tree) if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run at import: all but those inside functions and under TYPE_CHECKING."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.stmt):
            yield node
        waiting.extend(ast.iter_child_nodes(node))


def test_every_room_has_a_floor() -> None:
    rooms = {room(module_name(path)) for path in MODULES if module_name(path).startswith("components.")}
    assert rooms - {""} <= LEVEL.keys()


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    own = module_name(path)
    wrong = []
    for name in imports(path):
        if own.startswith("components.") and name.split(".")[0] in ("flows", "rnr"):
            wrong.append(name)
        if own.startswith("flows.") and name.split(".")[0] == "rnr":
            wrong.append(name)
        if own.startswith("components.") and name.startswith("components.") and room(own):
            here, there = room(own), room(name)
            if there != here and LEVEL[there] >= LEVEL[here]:
                wrong.append(name)
    assert not wrong, f"{own} (see FLOORS) imports upwards or sideways"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_libraries_stay_behind_their_doors(path: Path) -> None:
    own = module_name(path)
    imported = {name.split(".")[0] for name in imports(path)}
    wrong = [library for library, doors in DOORS.items() if library in imported and not own.startswith(doors)]
    assert not wrong


@pytest.mark.parametrize(
    "path", [p for p in MODULES if module_name(p).startswith("components.") and room(module_name(p)) in CORE_ROOMS],
    ids=module_name,
)  # fmt: skip
def test_cores_import_nothing_heavy_at_module_level(path: Path) -> None:
    libraries = {name.split(".")[0] for name in imports(path, top_level_only=True)}
    assert libraries - CORE_LIBRARIES - set(sys.stdlib_module_names) == set()


@pytest.mark.parametrize("path", MODULES + sorted((REPOSITORY / "tests").rglob("*.py")), ids=lambda path: path.name)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def test_the_walls_would_stop_someone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader of imports sees what it must: late imports, relative ones, and none under TYPE_CHECKING."""
    file = tmp_path / "components/photos/bad.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "from ..promotion import gate\n"
        "try:\n    import mlflow.pyfunc\nexcept ImportError:\n    pass\n"
        "if TYPE_CHECKING:\n    import torch\n"
        "def late():\n    from components import inference\n    import dvc\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "REPOSITORY", tmp_path)
    assert {"components.promotion.gate", "components.inference", "mlflow.pyfunc", "dvc", "torch"} <= set(imports(file))
    early = set(imports(file, top_level_only=True))
    assert "mlflow.pyfunc" in early
    assert not early & {"dvc", "torch", "components.inference"}
    with pytest.raises(AssertionError):
        test_imports_point_down(file)
    with pytest.raises(AssertionError):
        test_libraries_stay_behind_their_doors(file)
