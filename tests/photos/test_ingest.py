"""The stage `ingest`: the same photos give the same bytes, no photo is in two splits, nothing vanishes unnamed."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from components import storage
from components.params import ParamsError, parse
from components.photos import decode
from components.photos import ingest as stage
from components.photos.config import IngestParams
from components.photos.split import assign_splits
from components.storage import parquet

SECTION = {
    "sources": ["photos"],
    "longest_side_px": 96,
    "min_side_px": 32,
    "val_fraction": 0.125,
    "test_fraction": 0.2,
    "photos_per_shard": 4,
    "max_pixels": 1_000_000,
    # blots are no photos: let them pass
    "max_noise": 255,
    "max_blur": 1,
    "max_haze": 1,
    "max_blockiness": 255,
    "min_highlight": 0,
    "max_clipped": 1,
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with params.yaml, and MLflow writing nowhere else."""
    monkeypatch.chdir(tmp_path)
    # as on a machine of many processes: only rank 0 tracks, so that these tests need no MLflow
    monkeypatch.setenv("RANK", "1")
    write_params()
    return tmp_path


def write_params(**changes: object) -> None:
    Path("params.yaml").write_text(yaml.safe_dump({"ingest": {**SECTION, **changes}}))


def config(**changes: object) -> IngestParams:
    return parse("ingest", {**SECTION, **changes}, IngestParams)


def picture(seed: int, height: int = 80, width: int = 120) -> Image.Image:
    """Soft blots of random colours: distinct pictures for every seed, at any size the same picture."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((240, 160), Image.Resampling.BICUBIC).resize((width, height))


def fill(folder: Path, count: int = 10, order: list[int] | None = None) -> None:
    folder.mkdir(parents=True)
    for seed in order or range(count):
        picture(seed).save(folder / f"{seed:02d}.png")


def all_rows() -> pd.DataFrame:
    return pd.concat([parquet.read_split("data/clean", split) for split in ("train", "val", "test")])


def shard_bytes() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path("data/clean").iterdir())}


def test_rows_and_metrics(place: Path) -> None:
    fill(place / "photos")
    picture(3).save(place / "photos/zz-again.png")
    (place / "photos/broken.jpg").write_bytes(b"no photo")
    picture(99, 20, 20).save(place / "photos/small.png")
    assert stage.main() == 0
    rows = all_rows()
    assert list(rows.columns) == stage.SCHEMA.names
    assert len(rows) == rows["photo_id"].nunique() == 10
    assert rows["photo_id"].str.fullmatch(r"[0-9a-f]{12}").all()
    assert (rows[["width", "height"]].max(axis=1) == 96).all()
    for row in rows.to_dict("records"):
        assert storage.decode_image(row["image"]).shape == (row["height"], row["width"], 3)
        assert (row["source"], row["scene"], list(row["objects"]), row["caption"]) == ("photos", "", [], "")
    left_out = pd.read_parquet("data/clean/quarantine.parquet")
    reasons = dict(zip(left_out["name"], left_out["reason"], strict=True))
    assert "known format" in reasons["broken.jpg"]
    assert "too small: 20x20" in reasons["small.png"]
    assert str(place) not in "".join(left_out["reason"])
    assert [reason for reason in reasons.values() if reason.startswith("duplicate of ")]
    counts = json.loads(Path("metrics/ingest.json").read_text())
    assert counts == {"photos_train": 7, "photos_val": 1, "photos_test": 2, "quarantined": 3, "duplicates": 1}


def test_same_bytes_whatever_the_order_of_the_files(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(place / "photos")
    stage.ingest(config())
    first = shard_bytes()
    shutil.rmtree(place / "photos")
    Path("data/ledger.csv").unlink()
    fill(place / "photos", order=[7, 2, 9, 0, 4, 1, 8, 3, 6, 5])
    walk = decode.os.walk
    monkeypatch.setattr(decode.os, "walk", lambda top: ((t, d, f[::-1]) for t, d, f in walk(top)))
    stage.ingest(config())
    assert shard_bytes() == first
    assert "quarantine.parquet" in first


def test_near_duplicates_are_dropped_and_the_largest_kept(place: Path) -> None:
    fill(place / "photos", 5)
    picture(2, 60, 90).save(place / "photos/a-copy.jpg", quality=80)
    picture(2, 40, 60).save(place / "photos/a-thumbnail.png")
    assert stage.ingest(config())["duplicates"] == 2
    assert sorted(all_rows()["name"]) == ["00.png", "01.png", "02.png", "03.png", "04.png"]
    left_out = pd.read_parquet("data/clean/quarantine.parquet")
    assert left_out.to_dict("records") == [
        {"name": name, "source": "photos", "reason": "near duplicate of 02.png"}
        for name in ("a-copy.jpg", "a-thumbnail.png")
    ]


def test_quarantine_has_its_columns_even_without_rows(place: Path) -> None:
    fill(place / "photos", 4)
    stage.ingest(config())
    left_out = pd.read_parquet("data/clean/quarantine.parquet")
    assert list(left_out.columns) == ["name", "source", "reason"]
    assert left_out.empty


def test_stale_shards_go_and_a_failure_keeps_what_was_there(place: Path) -> None:
    fill(place / "photos")
    stage.ingest(config(photos_per_shard=1))
    assert len(list(Path("data/clean").glob("train-*.parquet"))) == 7
    Path("data/ledger.csv").unlink()
    stage.ingest(config())
    assert len(list(Path("data/clean").glob("train-*.parquet"))) == 2
    before = shard_bytes()
    for path in list((place / "photos").iterdir())[2:]:
        path.unlink()
    assert stage.main() == 1
    assert shard_bytes() == before
    assert sorted(path.name for path in Path("data").iterdir()) == ["clean", "ledger.csv"]


def test_sources_csv_names_scene_objects_and_caption(place: Path) -> None:
    fill(place / "photos", 4)
    (place / "photos/SOURCES.csv").write_text(
        "file,package,version,source_file,author,licence,scene,objects,caption\n"
        '00.png,p,1,s,a,MIT,coast,sea; rock,"A sea, and a rock."\n'
        "gone.png,p,1,s,a,MIT,coast,sea,Not there.\n"
    )
    stage.ingest(config())
    row = all_rows().set_index("name").loc["00.png"]
    assert (row["scene"], list(row["objects"]), row["caption"]) == ("coast", ["sea", "rock"], "A sea, and a rock.")
    left_out = pd.read_parquet("data/clean/quarantine.parquet")
    assert left_out.to_dict("records") == [{"name": "gone.png", "source": "photos", "reason": "not found"}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,scene,objects\n00.png,coast,sea\n", "row 2: column caption is missing"),
        ("file,scene,objects,caption\n00.png,moon,sea,A sea.\n", "row 2: scene 'moon' is none of street"),
    ],
)
def test_wrong_sources_csv_is_named(place: Path, capsys: pytest.CaptureFixture[str], text: str, told: str) -> None:
    fill(place / "photos", 4)
    (place / "photos/SOURCES.csv").write_text(text)
    assert stage.main() == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not Path("data/clean").exists()


def test_fewer_than_three_photos(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(place / "photos", 2)
    assert stage.main() == 1
    assert "2 usable photos in photos, at least 3 are needed" in capsys.readouterr().err
    assert not Path("data/clean").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sources": ["nowhere"]}, "ingest.sources: nowhere: no folder nowhere"),
        ({"sources": []}, "ingest.sources: "),
        ({"longest_side": 3}, "ingest.longest_side: unknown key; did you mean 'longest_side_px'?"),
        ({"min_side_px": "32"}, "ingest.min_side_px: "),
        ({"test_fraction": 0.9}, "ingest.test_fraction: "),
    ],
)
def test_wrong_parameters_exit_2_with_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], told: str
) -> None:
    fill(place / "photos", 4)
    write_params(**changes)
    assert stage.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("params.yaml: ")
    assert told in error
    assert error.count("\n") == 1
    assert not Path("data").exists()


def test_missing_parameter_is_named() -> None:
    values = {key: value for key, value in SECTION.items() if key != "max_pixels"}
    with pytest.raises(ParamsError, match=r"ingest\.max_pixels: missing"):
        parse("ingest", values, IngestParams)


def test_every_scene_of_three_is_trained_and_tested() -> None:
    scenes = {
        f"{scene}-{i}": scene for scene, size in {"a": 3, "b": 4, "c": 9, "d": 24, "e": 1}.items() for i in range(size)
    }
    splits = assign_splits(scenes, 0.125, 0.2)
    for scene in "abcd":
        present = {splits[photo] for photo, its in scenes.items() if its == scene}
        assert {"train", "test"} <= present
    counts = Counter(splits.values())
    assert counts["test"] == round(0.2 * 41)
    assert counts["val"] == round(0.125 * 41)
    assert splits == assign_splits(dict(reversed(scenes.items())), 0.125, 0.2)


@pytest.mark.parametrize("count", [3, 4, 5, 8])
@pytest.mark.parametrize("scene_count", [1, 2, 8])
@pytest.mark.parametrize(("val", "test"), [(0.125, 0.2), (0.4, 0.5), (0.01, 0.01)])
def test_no_split_is_ever_empty(count: int, scene_count: int, val: float, test: float) -> None:
    splits = assign_splits({str(i): f"scene {i % scene_count}" for i in range(count)}, val, test)
    assert set(splits.values()) == {"train", "val", "test"}
