"""The champion as a base: pinned by content, known to DVC, and only when something is to be trained."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from components import params, tracking
from flows import dvc_graph, warm_start
from tests.tiny import tiny_params

CHAMPION_SHAPE = {"widths": [16, 16, 16], "blocks": [1, 1, 1], "embedding": 8}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository in which both trainings are done, and a registry without a champion."""
    repository = tmp_path / "repository"
    repository.mkdir()
    monkeypatch.chdir(repository)
    monkeypatch.setattr(tracking, "fetch_model", none_yet)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], check=True)
    write_params()
    Path("pairs.txt").write_text("pairs")
    copy = f"{sys.executable} -c \"import sys, shutil; shutil.copy('pairs.txt', sys.argv[1])\""
    stages = {
        "train_reasoner": {"cmd": f"{copy} reasoner.txt", "params": ["reasoner"], "deps": ["pairs.txt"]},
        "train_restorer": {"cmd": f"{copy} restorer.txt", "params": ["restorer"], "deps": ["reasoner.txt"]},
        "evaluate": {"cmd": f"{copy} report.txt", "deps": ["restorer.txt"], "params": ["evaluate"]},
    }
    outs = {"train_reasoner": "reasoner.txt", "train_restorer": "restorer.txt", "evaluate": "report.txt"}
    graph = {name: {**stage, "outs": [outs[name]]} for name, stage in stages.items()}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": graph}))
    repro()
    return repository


def none_yet(ref: str = "") -> Path:
    raise tracking.NoSuchModel("no champion")


def write_params(**sections: dict) -> None:
    # comments stay where they are
    text = yaml.safe_dump(tiny_params(**sections), sort_keys=False)
    Path("params.yaml").write_text(f"# kept\n{text}", encoding="utf-8")


def repro() -> str:
    return subprocess.run([sys.executable, "-m", "dvc", "repro"], capture_output=True, text=True, check=True).stdout


def crown(monkeypatch: pytest.MonkeyPatch, place: Path, version: str, value: float, **shape: list[int]) -> None:
    """Make a model with weights of `value` the champion."""
    models = place.parent / f"version-{version}"
    for name in ("reasoner", "restorer"):
        (models / name).mkdir(parents=True)
        weights = {"layer.weight": np.full(3, value, np.float32), "policy.weight": np.full(3, value, np.float32)}
        save_file(weights, models / name / "model.safetensors")
    (models / "restorer" / "config.json").write_text(json.dumps(CHAMPION_SHAPE | shape))
    monkeypatch.setattr(tracking, "fetch_model", lambda ref: models)
    monkeypatch.setattr(warm_start, "champion_version", lambda: version)


def begin() -> warm_start.WarmStart:
    return warm_start.from_champion(dvc_graph.stages(), dvc_graph.status())


def test_the_champion_becomes_the_base_of_the_next_training(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crown(monkeypatch, place, "3", 1.0)
    # a change after the trainings is none of its business, nor is no change
    assert begin().version is None
    write_params(evaluate={"seed": 8})
    assert begin().why == "nothing is to be trained"
    assert params.read_file()["restorer"]["base"] == "scratch"

    Path("pairs.txt").write_text("more pairs")
    begun = begin()
    assert begun.version == "3"
    base = Path(begun.base["restorer"])
    assert warm_start.bases() == begun.base == {"reasoner": f"{base.parent}/reasoner", "restorer": f"{base}"}
    assert Path("params.yaml").read_text(encoding="utf-8").startswith("# kept\n")
    weights = load_file(base / "model.safetensors")
    assert weights["layer.weight"].tolist() == [1, 1, 1]
    # the policy of a network that was refined is not that of one about to be trained
    assert weights["policy.weight"].tolist() == [0, 0, 0]
    noted = yaml.safe_load(Path(f"{base.parent}.dvc").read_text(encoding="utf-8"))
    assert noted["meta"] == {"model": "reason-and-restore", "version": "3"}
    # DVC sees that the trainings have other parameters now, and again nothing once they have run
    assert {"train_reasoner", "train_restorer"} <= set(dvc_graph.status())
    before = Path("params.yaml").read_bytes()
    assert begin().base == begun.base and Path("params.yaml").read_bytes() == before
    repro()
    assert dvc_graph.status() == {}
    assert yaml.safe_load(Path("dvc.lock").read_text())["stages"]["train_restorer"]["params"]["params.yaml"][
        "restorer"
    ]["base"] == str(base)

    # the result was promoted: it is the next base, but only when there is something to train
    crown(monkeypatch, place, "4", 2.0)
    assert begin().version is None
    assert dvc_graph.status() == {}
    Path("pairs.txt").write_text("still more pairs")
    again = begin()
    assert again.version == "4" and again.base != begun.base
    assert not base.exists() and not Path(f"{base.parent}.dvc").exists()
    # the earlier base is still to be had
    shutil.rmtree(Path(again.base["restorer"]).parent)
    subprocess.run([sys.executable, "-m", "dvc", "checkout", "-q"], check=True)
    assert load_file(Path(again.base["restorer"]) / "model.safetensors")["layer.weight"].tolist() == [2, 2, 2]


def test_a_base_set_by_hand_is_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crown(monkeypatch, place, "3", 1.0)
    write_params(reasoner={"base": "scratch:small"})
    begun = begin()
    assert begun.version is None
    assert begun.why == "reasoner.base was set to scratch:small since the last training: training starts there"
    assert warm_start.bases()["reasoner"] == "scratch:small"


@pytest.mark.parametrize("champion", [False, True])
def test_without_a_champion_that_fits_the_base_stays(
    place: Path, monkeypatch: pytest.MonkeyPatch, champion: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if champion:
        crown(monkeypatch, place, "3", 1.0, widths=[48, 96, 192])
    Path("pairs.txt").write_text("more pairs")
    before = Path("params.yaml").read_bytes()
    assert warm_start.main() == 0
    said = capsys.readouterr().out
    assert ("restorer has widths [48, 96, 192], restorer.widths is [16, 16, 16]" in said) == champion
    assert ("there is no champion yet" in said) != champion
    assert Path("params.yaml").read_bytes() == before
    assert not warm_start.WARM.exists()


def test_the_pinned_folder_is_named_by_its_content(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crown(monkeypatch, place, "3", 1.0)
    models = tracking.fetch_model("champion")
    folder = warm_start.keep(models, "3")
    assert folder.name == warm_start.content_digest(folder)
    # what was left half-done is done again
    shutil.rmtree(folder / "reasoner")
    assert warm_start.keep(models, "3") == folder
    assert (folder / "reasoner/model.safetensors").exists()
    assert not [path for path in warm_start.WARM.iterdir() if path.name.startswith(".") and path.is_dir()]
