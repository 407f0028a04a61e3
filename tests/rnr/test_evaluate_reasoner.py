"""`rnr evaluate-reasoner` through the real command, with an untrained reasoner on a few pairs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import rnr
from components import storage
from components.diagnosis import TYPES
from components.evaluation import answers
from components.evaluation.measure import measure_reasoner
from components.reasoner import model as models
from components.reasoner.config import ReasonerParams
from components.reasoner.reader import CALIBRATION_FILE, Reasoner
from components.storage import parquet
from tests.evaluation.plain_pairs import write_pairs
from tests.rnr.conftest import run
from tests.tiny import tiny_params


@pytest.fixture(scope="module")
def given(tmp_path_factory, photos) -> Path:
    """A folder with data/pairs, and models/reasoner: random weights, thresholds that some pictures pass."""
    place = tmp_path_factory.mktemp("given")
    write_pairs(place / "data/pairs", photos, train=12, others=18)
    folder = place / "models/reasoner"
    config = ReasonerParams.model_validate(tiny_params()["reasoner"])
    models.save(folder, *models.build(config, ["sky", "tree"]))
    reasoner = Reasoner(folder)
    presence, _ = reasoner.severities(reasoner.read(list(answers.stored(place / "data/pairs", "test", "degraded"))))
    middle = {kind: float(value) for kind, value in zip(TYPES, presence.median(0).values, strict=True)}
    storage.write_json(folder / CALIBRATION_FILE, {"threshold": middle})
    return place


def test_figures_of_reasoner_and_baselines(given: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(answers, "RESAMPLES", 20)
    pairs = given / "data/pairs"
    assert run("evaluate-reasoner", "--model", given / "models", "--pairs", pairs, "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    report = json.loads(line)
    frame = parquet.read_split(pairs, "test")
    reasoner = Reasoner(given / "models/reasoner")
    known = measure_reasoner(reasoner, frame)["reasoner"]
    own = report["figures"]["reasoner"]
    assert own["parse_rate"] == 1
    assert 0 < own["macro_f1"] < 1
    assert {name: own[name] for name in known} == pytest.approx(known, abs=1e-5)
    clean = [reasoner.diagnose([storage.decode_image(data)])[0].is_clean for data in frame["clean"]]
    assert own["clean_sides_passed"] == pytest.approx(np.mean(clean))
    assert (report["pairs_measured"], report["photos_measured"]) == (18, 1)
    # strong noise and compression are no secret to features
    for side in ("handmade", "gauges"):
        assert report["figures"][side]["macro_f1"] > own["macro_f1"]
        assert report["types"][side]["jpeg"]["auc"] > 0.8
        low, high = report["intervals"][side]["macro_f1"]
        assert low <= report["figures"][side]["macro_f1"] <= high


def test_a_table_for_a_person_needs_no_training_pairs(given: Path, place: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(answers, "RESAMPLES", 5)
    # the default model, here the pretrained one, and the default pairs
    monkeypatch.setattr(rnr, "PRETRAINED", given / "models")
    (place / "data/pairs").mkdir(parents=True)
    for path in (given / "data/pairs").glob("test-*"):
        (place / "data/pairs" / path.name).symlink_to(path)
    assert run("evaluate-reasoner", "--no-baseline") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "18 test pairs of 1 photos"
    rows = {line.split("  ")[0]: line.split() for line in told if line}
    assert rows["macro F1"][-3:] == [">=", "0.900", "no"]
    assert rows["answers that parse"][-3:] == [">=", "1.000", "yes"]
    assert rows["severity error (MAE)"][-3:-1] == ["<=", "9.0"]
    assert rows["noise"][1] == "9"
    assert "hand-made" not in "\n".join(told)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pairs", "nowhere"), "nowhere: no train pairs here; make them with `dvc repro synthesize`, or leave"),
        (("--pairs", "nowhere", "--no-baseline"), "nowhere: no test pairs here; make them with `dvc repro synthesize`"),
        (("--model", "nowhere"), "nowhere: no model folder"),
        (("--model", "."), "no reasoner here (answer.json or reasoner/ is missing)"),
        (("--models", "."), "unrecognized arguments: --models"),
    ],
)
def test_wrong_use_is_one_line(given: Path, monkeypatch, capsys, arguments, message) -> None:
    monkeypatch.chdir(given)
    assert run("evaluate-reasoner", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
