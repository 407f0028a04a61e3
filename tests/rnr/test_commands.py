"""The other commands of `rnr`: diagnose, evaluate, models, profiles, and which model is taken."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rnr
from components.evaluation import measure
from components.inference import ModelRefError
from tests.rnr.conftest import CLEAN, run
from tests.tiny import REPOSITORY


def test_diagnose_writes_one_json_object_a_line(place: Path, photo, models, capsys) -> None:
    photo(place / "in/a.png")
    photo(place / "in/b.png", CLEAN)
    (place / "in/broken.png").write_bytes(b"no photo")
    assert run("diagnose", "in", "--json") == 1
    told = capsys.readouterr()
    rows = [json.loads(line) for line in told.out.splitlines()]
    assert [row["path"] for row in rows] == ["in/a.png", "in/b.png"]
    assert rows[0]["findings"]["haze"] == {"severity": 60.0, "confidence": 0.9, "factors": {}}
    assert (rows[0]["scene"], rows[0]["objects"], rows[0]["reasoning"]) == ("coast", ["sea"], ["It is foggy."])
    assert rows[1]["findings"] == {}
    assert told.err.startswith("rnr: in/broken.png: not a photo")


def test_diagnose_for_a_person(place: Path, photo, models, capsys) -> None:
    photo(place / "a.png")
    assert run("diagnose", "a.png") == 0
    told = capsys.readouterr().out
    assert "haze 60, rain 20" in told
    assert "It is foggy." in told


def test_evaluate_pairs_by_name_and_names_what_has_no_partner(place: Path, photo, models, capsys) -> None:
    noise = np.random.default_rng(1).integers(60, 180, (64, 64, 3), dtype=np.uint8)
    for folder, shift in (("clean", 10), ("bad", 0)):
        (place / folder).mkdir()
        Image.fromarray(noise + np.uint8(shift)).save(place / folder / f"a.{'png' if shift else 'tif'}")
    photo(place / "clean/alone.png")
    Image.new("RGB", (20, 20)).save("clean/size.png")
    Image.new("RGB", (30, 20)).save("bad/size.png")
    assert run("evaluate", "--clean", "clean", "--degraded", "bad", "--json") == 1
    told = capsys.readouterr()
    report = json.loads(told.out)
    (row,) = report["photos"]
    assert row["name"] == "a"
    assert row["psnr_degraded"] == pytest.approx(20 * np.log10(255 / 10), abs=0.01)
    assert row["psnr_restored"] > 50
    assert row["severities_before"]["haze"] == 60
    assert row["severities_after"]["haze"] == 10
    assert report["mean"]["psnr_degraded"] == row["psnr_degraded"]
    assert report["failed"] == 2
    assert "alone: no photo of this name in bad" in told.err
    assert "size: sizes differ" in told.err


def test_evaluate_for_a_person(place: Path, photo, models, monkeypatch, capsys) -> None:
    photo(place / "clean/a.png")
    photo(place / "bad/a.png")
    monkeypatch.setattr(measure, "scores", lambda *_: dict.fromkeys(measure_names(), 0.5))
    assert run("evaluate", "--clean", "clean", "--degraded", "bad") == 0
    assert "mean of 1" in capsys.readouterr().out


def measure_names() -> tuple[str, ...]:
    return ("psnr_degraded", "psnr_restored", "ssim_degraded", "ssim_restored")


@pytest.mark.parametrize(
    ("clean", "told", "code"), [("none", "--clean none: no such folder", 2), ("empty", "no photo in this folder", 1)]
)
def test_evaluate_without_photos(place: Path, photo, models, capsys, clean: str, told: str, code: int) -> None:
    photo(place / "bad/a.png")
    (place / "empty").mkdir()
    assert run("evaluate", "--clean", clean, "--degraded", "bad") == code
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


PARAMS = """\
# what stands here stays
reasoner:
  base: scratch:small         # or a path
  steps: 260
  learning_rate: 0.001
restorer:
  widths: [48, 96, 128]       # channels
"""


@pytest.fixture
def profiles(place: Path) -> Path:
    (place / "profiles").mkdir()
    (place / "params.yaml").write_text(PARAMS)
    (place / "profiles/gpu.yaml").write_text("reasoner:\n  steps: 3000\nrestorer:\n  widths: [64, 128, 256]\n")
    return place / "profiles"


def test_profile_apply_changes_values_and_nothing_else(profiles: Path, capsys) -> None:
    assert run("profile", "apply", "gpu", "--json") == 0
    expected = PARAMS.replace("260", "3000").replace("[48, 96, 128]       #", "[64, 128, 256]      #")
    assert Path("params.yaml").read_text() == expected
    changed = json.loads(capsys.readouterr().out)
    assert changed["reasoner.steps"] == {"before": 260, "after": 3000}
    assert run("profile", "apply", "gpu") == 0
    assert "already" in capsys.readouterr().out
    assert Path("params.yaml").read_text() == expected


def test_profile_list_and_show(profiles: Path, capsys) -> None:
    assert run("profile", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == ["gpu"]
    assert run("profile", "show", "gpu") == 0
    assert capsys.readouterr().out == (profiles / "gpu.yaml").read_text()


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        ("reasoner: {step: 3}", "reasoner.step: no such key in params.yaml; did you mean 'reasoner.steps'?"),
        ("reasonar: {steps: 3}", "reasonar: no such key in params.yaml; did you mean 'reasoner'?"),
        ("reasoner: {steps: many}", "reasoner.steps: 'many' is str, params.yaml has int"),
        ("reasoner: 3", "reasoner: 3 is int, params.yaml has dict"),
        ("just words", "expected sections"),
    ],
)
def test_wrong_profile_changes_nothing(profiles: Path, capsys, patch: str, told: str) -> None:
    (profiles / "bad.yaml").write_text(patch)
    assert run("profile", "apply", "bad") == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert Path("params.yaml").read_text() == PARAMS


def test_profile_names_that_are_not_there(profiles: Path, capsys) -> None:
    assert run("profile", "apply", "cluster") == 2
    assert "no such profile; there are: gpu" in capsys.readouterr().err
    assert run("profile", "apply") == 2
    assert "which one? there are: gpu" in capsys.readouterr().err


def test_default_model_is_pretrained_where_there_is_no_registry(place: Path, monkeypatch) -> None:
    for name in ("reasoner", "restorer"):
        (place / "shipped" / name).mkdir(parents=True)
    monkeypatch.setattr(rnr, "PRETRAINED", place / "shipped")
    assert rnr.locate() == rnr.locate("pretrained") == place / "shipped"
    assert rnr.locate("shipped") == Path("shipped")
    assert not (place / "mlflow.db").exists()


def test_champion_comes_before_pretrained(place: Path, monkeypatch) -> None:
    monkeypatch.setattr("components.tracking.fetch_model", lambda ref: place / ref.rpartition("@")[2])
    assert rnr.locate() == place / "champion"


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("models:/reason-and-restore@champion", "no model registry at"),
        ("models:/reason-and-restore", "not a model reference"),
        ("nowhere", "no model folder nowhere"),
        ("empty", "no model here (reasoner/ is missing)"),
    ],
)
def test_model_that_is_not_there_is_one_line(place: Path, photo, capsys, ref: str, told: str) -> None:
    photo(place / "a.png")
    (place / "empty").mkdir()
    with pytest.raises(ModelRefError):
        rnr.load(ref)
    for command in (["restore", "a.png", "-o", "out"], ["diagnose", "a.png"]):
        assert run(*command, "--model", ref) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1


def test_registry_without_any_model_is_one_line(place: Path, capsys) -> None:
    (place / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    for command in (["rollback"], ["promote"], ["promote", "--dry-run"]):
        assert run(*command) == 1
        error = capsys.readouterr().err
        assert "`rnr run`" in error
        assert error.count("\n") == 1
    assert run("models", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    # a registry without a champion is no obstacle to the shipped models
    (place / "shipped").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rnr, "PRETRAINED", place / "shipped")
        assert rnr.locate() == place / "shipped"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "params.yaml: not found"),
        ("ingest: [", "not valid YAML"),
        ("ingest: {sources: [builtin]}", "ingest.longest_side_px: missing"),
    ],
)
def test_run_with_wrong_parameters_is_exit_2_before_anything_starts(
    place: Path, capsys, text: str | None, told: str
) -> None:
    if text is not None:
        (place / "params.yaml").write_text(text)
    assert run("run") == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (place / "mlflow.db").exists()
    assert not (place / "data").exists()


@pytest.mark.parametrize("arguments", [[], ["restroe"], ["run", "--parallelism", "0"], ["restore"]])
def test_wrong_use_of_the_top_level(capsys, arguments: list[str]) -> None:
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("rnr")
    assert error.count("\n") == 1


def test_help_and_import_are_light() -> None:
    """Half a second for the help: none of the heavy libraries may be imported for it."""
    code = "import sys, rnr, rnr.cli\nprint(sorted({'torch', 'mlflow', 'prefect', 'dvc', 'pandas'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"
    began = time.monotonic()
    told = subprocess.run(
        [sys.executable, "-m", "rnr.cli", "--help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    # generous beside a busy neighbour; alone it takes a tenth of that
    assert time.monotonic() - began < 2
    for command in ("run", "restore", "diagnose", "evaluate", "profile", "promote", "rollback", "models", "doctor"):
        assert f"    {command} " in told.stdout
