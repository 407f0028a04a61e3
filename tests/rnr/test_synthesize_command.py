"""`rnr synthesize`: photos degraded by a recipe that replays, stored pairs made again, sheets drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components import storage
from components.degradations.recipe import apply_recipe
from components.storage import parquet
from tests.rnr.conftest import run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos) -> Path:
    """A folder with two real photos."""
    monkeypatch.chdir(tmp_path)
    Path("in/sub").mkdir(parents=True)
    Image.fromarray(photos[0]).save("in/a.png")
    Image.fromarray(photos[1][:96]).save("in/sub/b.jpg", quality=95)
    return tmp_path


def test_the_wanted_severities_are_reached_and_the_recipe_replays(here: Path, capsys) -> None:
    assert run("synthesize", "in", "-o", "out", "--add", "noise=30", "--add", "haze=60", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["path"] for row in rows] == ["in/a.png", "in/sub/b.jpg"]
    for row, name in zip(rows, ("a.png", "sub/b.png"), strict=True):
        assert row["severities"] == pytest.approx({"haze": 60, "noise": 30}, abs=4)
        clean = np.asarray(Image.open(row["path"]).convert("RGB"))
        written = np.asarray(Image.open(here / "out" / name))
        told = json.loads((here / "out" / f"{name}.recipe.json").read_text())
        assert [step["type"] for step in told["recipe"]] == ["haze", "noise"]
        assert np.array_equal(apply_recipe(clean, told["recipe"]), written)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(here: Path) -> None:
    for out, seed in (("one", "4"), ("two", "4"), ("three", "5")):
        assert run("synthesize", "in", "-o", out, "--seed", seed) == 0
    first, second, third = ((here / out / "a.png").read_bytes() for out in ("one", "two", "three"))
    assert first == second != third


@pytest.mark.parametrize("preset", ["cdd11", "miori", "realesrgan", "imagecorruptions"])
def test_presets(here: Path, preset: str, capsys) -> None:
    assert run("synthesize", "in", "-o", "out", "--preset", preset) == 0
    assert "2 written to out, 0 failed" in capsys.readouterr().out


def test_what_cannot_be_read_is_named_and_the_others_are_done(here: Path, capsys) -> None:
    (here / "in/broken.png").write_bytes(b"no photo")
    assert run("synthesize", "in", "-o", "out") == 1
    told = capsys.readouterr()
    assert told.err.startswith("rnr: in/broken.png: not a photo")
    assert sorted(path.name for path in (here / "out").rglob("*.png")) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("in",), "photos and -o OUT are needed"),
        (("in", "-o", "in"), "would overwrite the input in/a.png"),
        (("in", "-o", "out", "--add", "haze=1", "--preset", "cdd11"), "--add and --preset exclude each other"),
        (("--replay", "x"), "no pairs here"),
    ],
)
def test_wrong_use_is_told_in_one_line(here: Path, capsys, arguments, line) -> None:
    assert run("synthesize", *arguments) == 2
    told = capsys.readouterr().err
    assert line in told and len(told.splitlines()) == 1
    assert not (here / "out").exists()


def test_replay_makes_a_stored_pair_again(workspace: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(workspace)
    rows = parquet.read_split("data/pairs", "val")
    row = rows[rows["case"] == rows["case"].iloc[3]].iloc[0]
    assert run("synthesize", "--replay", row.pair_id, "-o", str(tmp_path / "out")) == 0
    assert "identical, bit for bit" in capsys.readouterr().out
    made = np.asarray(Image.open(tmp_path / "out" / f"{row.pair_id}.degraded.png"))
    assert np.array_equal(made, storage.decode_image(row.degraded))
    assert run("synthesize", "--replay", "nobody-00000") == 2
    assert "no pair 'nobody-00000'; ids look like" in capsys.readouterr().err


def test_replay_says_so_when_the_bytes_differ(workspace: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    rows = parquet.read_split(workspace / "data/pairs", "val")
    rows["degraded"] = rows["clean"]
    parquet.write(tmp_path / "data/pairs", "val", 0, rows)
    monkeypatch.chdir(tmp_path)
    chosen = rows[rows["case"] != "clean"].iloc[0].pair_id
    assert run("synthesize", "--replay", chosen, "--json") == 1
    assert json.loads(capsys.readouterr().out)["identical"] is False


def test_a_sheet_for_every_degradation(here: Path, capsys) -> None:
    assert run("synthesize", "in/a.png", "--gallery", "sheets") == 0
    written = capsys.readouterr().out.split()
    assert [Path(path).name for path in written] == [
        f"{kind}.jpg" for kind in ("haze", "rain", "snow", "low_light", "blur", "noise", "jpeg")
    ]
    assert Image.open(written[0]).size == (6 * 324, 204)
