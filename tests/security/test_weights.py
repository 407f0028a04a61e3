"""No weights file can run code: read from the source, and tried with hostile files through the commands."""

from __future__ import annotations

import ast
import os
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from rnr import cli
from tests.test_architecture import MODULES
from tests.tiny import REPOSITORY

PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "_pickle"}
FORBIDDEN_CALLS = {"eval", "exec", "read_pickle", "to_pickle", "unsafe_load", "full_load"}


def dangers(tree: ast.AST) -> Iterator[str]:
    """What in a module could run a stranger's code out of data."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (f"line {node.lineno}: imports {name}" for name in names if name.split(".")[0] in PICKLES)  # type: ignore[attr-defined]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        last = called.rpartition(".")[2]
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in FORBIDDEN_CALLS or (last in FORBIDDEN_CALLS and last not in ("eval", "exec")):
            yield f"line {node.lineno}: {called}"
        if called == "torch.load" and given.get("weights_only") != "True":
            yield f"line {node.lineno}: torch.load without weights_only=True"
        if called in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False":
            yield f"line {node.lineno}: numpy.load with pickles"
        if called == "yaml.load" and "Loader" in given:
            yield f"line {node.lineno}: yaml.load with a loader of its own"
        if last == "from_pretrained" and called.startswith("Auto") and given.get("trust_remote_code") != "False":
            yield f"line {node.lineno}: {called} without trust_remote_code=False"
        if last == "from_pretrained" and "For" in called and given.get("use_safetensors") != "True":
            yield f"line {node.lineno}: {called} without use_safetensors=True"
        if given.get("trust_remote_code") == "True" or given.get("shell") == "True":
            yield f"line {node.lineno}: {called} with code or a shell from outside"
        if "python_model" in given and not given["python_model"].startswith("str("):
            yield f"line {node.lineno}: an MLflow model that is no file of code"


@pytest.mark.parametrize("path", [*MODULES, *sorted((REPOSITORY / "benchmarks").glob("*.py"))], ids=lambda p: p.name)
def test_no_module_unpickles_or_runs_text(path: Path) -> None:
    assert list(dangers(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from cloudpickle import loads",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "np.load(p, allow_pickle=True)",
        "pd.read_pickle(p)",
        "eval(text)",
        "AutoTokenizer.from_pretrained(p)",
        "Qwen3VLForConditionalGeneration.from_pretrained(p)",
        "subprocess.run(text, shell=True)",
        "save_model(p, python_model=Model())",
    ],
)
def test_the_scan_would_find_it(line: str) -> None:
    assert len(list(dangers(ast.parse(line)))) == 1


class Bomb:
    """Unpickled, it leaves a file: proof that it ran."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Path]:
    """Where the bomb would leave its sign. It must be live: loaded with pickle it goes off."""
    sign = tmp_path / "it-ran"
    pickle.loads(pickle.dumps(Bomb(sign)))
    assert sign.is_dir()
    sign.rmdir()
    yield sign
    assert not sign.exists(), "a hostile file was executed"


def plain(path: Path, bomb: Bomb) -> None:
    path.write_bytes(pickle.dumps(bomb))


def saved(path: Path, bomb: Bomb) -> None:
    torch.save({"weight": bomb}, path)


def zipped(path: Path, bomb: Bomb) -> None:
    """As torch.save lays it out, by hand."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(bomb))
        archive.writestr("archive/version", "3\n")


@pytest.mark.parametrize("write", [plain, saved, zipped])
@pytest.mark.parametrize("part", ["reasoner", "restorer"])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_hostile_weights_are_one_line_for_the_commands(
    write: Callable[[Path, Bomb], None], part: str, name: str, trace: Path, tmp_path: Path, capsys
) -> None:
    model = tmp_path / "model"
    shutil.copytree(REPOSITORY / "pretrained", model, copy_function=os.symlink)
    (model / part / "model.safetensors").unlink()
    write(model / part / name, Bomb(trace))
    photo = next((REPOSITORY / "data/photos").glob("*.jpg"))
    commands = [["restore", str(photo), "-o", str(tmp_path / "out"), "--model", str(model)]]
    if part == "reasoner":
        commands.append(["diagnose", str(photo), "--model", str(model)])
    for command in commands:
        assert cli.main(command) == 2
        told = capsys.readouterr().err.splitlines()
        assert len([line for line in told if line.startswith("rnr: ")]) == 1
        assert not [line for line in told if "Traceback" in line]
        assert f"not a {part}" in told[-1]
    assert not list((tmp_path / "out").glob("*.jpg"))


@pytest.mark.parametrize(("section", "base"), [("reasoner", "reasoner"), ("restorer", "restorer")])
def test_hostile_bases_are_refused_by_the_trainings(section: str, base: str, trace: Path, tmp_path: Path) -> None:
    """What `reasoner.base` and `restorer.base` name is loaded by the same functions as the trainings use."""
    from components import params
    from components.reasoner.config import ReasonerParams
    from components.reasoner.model import ReasonerError, build
    from components.restorer import train
    from components.restorer.config import RestorerParams
    from components.restorer.network import RestorerError

    model = tmp_path / "base"
    shutil.copytree(REPOSITORY / "pretrained" / base, model, copy_function=os.symlink)
    (model / "model.safetensors").unlink()
    saved(model / "pytorch_model.bin", Bomb(trace))
    settings = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))[section] | {"base": str(model)}
    if section == "reasoner":
        with pytest.raises(ReasonerError, match=r"reasoner\.base: cannot load"):
            build(params.parse(section, settings, ReasonerParams), [])
    else:
        with pytest.raises(RestorerError, match="not a restorer"):
            train.new_restorer(params.parse(section, settings, RestorerParams), 1)


def test_hostile_checkpoints_and_depth_models_do_not_run(trace: Path, tmp_path: Path) -> None:
    from components import params
    from components.restorer.train import last_checkpoint
    from components.synthesis.depths import DepthSource

    for write in (plain, saved, zipped):
        write(tmp_path / "step-000001.pt", Bomb(trace))
        with pytest.raises(Exception, match=r"(?i)weights.only|invalid|unsupported|corrupt|zip|magic"):
            last_checkpoint(tmp_path)
        with pytest.raises(params.ParamsError, match="not a TorchScript model"):
            DepthSource(str(tmp_path / "step-000001.pt"))


def test_a_pickled_mlflow_model_is_refused_by_the_smoke_test(trace: Path, tmp_path: Path) -> None:
    """What a registry that somebody else may write to could hold."""
    import mlflow.pyfunc
    from mlflow.pyfunc import PythonModel

    from components.promotion.promote import smoke_test

    class Wrapped(PythonModel):
        def __init__(self) -> None:
            self.bomb = Bomb(trace)

        def predict(self, context, model_input, params=None):
            return model_input

    mlflow.pyfunc.save_model(str(tmp_path / "version"), python_model=Wrapped(), pip_requirements=[])
    assert list((tmp_path / "version").glob("*.pkl"))
    tried = smoke_test(tmp_path / "version", 300)
    assert tried.error is not None
    assert "pickle" in tried.error.lower()


def test_nothing_of_ours_is_pickled() -> None:
    """What git has, and what a stage leaves for others, holds no pickle."""
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert not [
        n for n in listed.splitlines() if n.endswith((".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib"))
    ]
