"""The ledger: photos that come later move no photo that is there, whatever comes and goes."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from components.photos import ingest as stage
from components.photos import ledger
from components.photos.ledger import LedgerError, Place
from components.photos.split import assign_splits
from components.storage import parquet
from tests.photos.test_ingest import all_rows, config, fill, picture, place, shard_bytes

__all__ = ["place"]  # a fixture


def splits_by_name() -> dict[str, str]:
    rows = all_rows()
    return dict(zip(rows["name"], rows["split"], strict=True))


def add(folder: Path, seeds: range) -> None:
    for seed in seeds:
        picture(seed).save(folder / f"{seed:02d}.png")


def test_photos_that_come_later_leave_old_shards_and_splits_alone(place: Path) -> None:
    fill(place / "photos", 20)
    stage.ingest(config())
    shards, splits, written = shard_bytes(), splits_by_name(), Path("data/ledger.csv").read_bytes()
    stage.ingest(config())
    assert (shard_bytes(), Path("data/ledger.csv").read_bytes()) == (shards, written)
    add(place / "photos", range(20, 40))
    stage.ingest(config())
    later = shard_bytes()
    assert {name: later.get(name) for name in shards} == shards
    assert len(later) > len(shards)
    assert splits_by_name().items() >= splits.items()
    counts = Counter(splits_by_name().values())
    assert (counts["test"], counts["val"]) == (8, 5)
    # a new shard holds at most photos_per_shard photos, and each is where the ledger says
    for identity, where in ledger.read("data/ledger.csv").items():
        rows = pd.read_parquet(f"data/clean/{where.split}-{where.shard:05d}.parquet")
        assert identity in set(rows["photo_id"]) and len(rows) <= 4


def test_the_same_splits_one_by_one_as_far_as_fractions_go(place: Path) -> None:
    fill(place / "photos", 5)
    before: dict[str, str] = {}
    for seed in range(5, 15):
        add(place / "photos", range(seed, seed + 1))
        stage.ingest(config())
        assert splits_by_name().items() >= before.items()
        before = splits_by_name()
    assert Counter(before.values()) == {"train": 10, "val": 2, "test": 3}


def test_a_photo_that_left_comes_back_to_its_split_and_shard(place: Path) -> None:
    fill(place / "photos", 20)
    stage.ingest(config())
    first, places = shard_bytes(), ledger.read("data/ledger.csv")
    gone = [name for name, split in splits_by_name().items() if split != "val"][::4]
    for name in gone:
        (place / "photos" / name).rename(place / name)
    stage.ingest(config())
    assert not set(gone) & set(splits_by_name())
    assert ledger.read("data/ledger.csv") == places
    for name in gone:
        (place / name).rename(place / "photos" / name)
    stage.ingest(config())
    assert shard_bytes() == first


def test_copies_and_larger_copies_do_not_oust_a_recorded_photo(place: Path) -> None:
    fill(place / "photos", 10)
    stage.ingest(config())
    shards = shard_bytes()
    picture(5).save(place / "photos/05 (1).png")
    picture(3, 160, 240).save(place / "photos/large.png")
    stage.ingest(config())
    assert {name for name, data in shard_bytes().items() if data != shards[name]} == {"quarantine.parquet"}


def test_photo_ids_outlast_a_change_of_size_and_a_missing_ledger_is_made_anew(place: Path) -> None:
    fill(place / "photos", 10)
    stage.ingest(config())
    shards, written, splits = shard_bytes(), Path("data/ledger.csv").read_bytes(), splits_by_name()
    stage.ingest(config(longest_side_px=64))
    assert Path("data/ledger.csv").read_bytes() == written
    assert (splits_by_name(), all_rows()["width"].max()) == (splits, 64)
    Path("data/ledger.csv").unlink()
    stage.ingest(config())
    assert (shard_bytes(), Path("data/ledger.csv").read_bytes()) == (shards, written)


def test_a_split_left_empty_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(place / "photos", 10)
    stage.ingest(config())
    for name, split in splits_by_name().items():
        if split == "val":
            (place / "photos" / name).unlink()
    assert stage.main() == 1
    error = capsys.readouterr().err
    assert "data/ledger.csv leaves split val without any photo; add photos, or delete the ledger" in error


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: expected the header photo_id,split,shard, found ''"),
        ("photo,split,shard\n", "line 1: expected the header photo_id,split,shard, found 'photo,split,shard'"),
        ("<<<<<<< HEAD\nphoto_id,split,shard\n", "line 1: expected the header"),
        ("photo_id,split,shard\n<<<<<<< HEAD\n", "line 2: expected photo_id,split,shard, found '<<<<<<< HEAD'"),
        ("photo_id,split,shard\n0123456789ab,dev,0\n", "line 2: split 'dev' is none of train, val, test"),
        ("photo_id,split,shard\n0123456789ab,val,-1\n", "line 2: shard '-1' is no number"),
        ("photo_id,split,shard\nnonsense,val,1\n", "line 2: photo_id 'nonsense' is not 12 hex digits"),
        (
            "photo_id,split,shard\n0123456789ab,val,0\n0123456789ab,test,0\n",
            "line 3: photo_id 0123456789ab stands there twice",
        ),
    ],
)
def test_a_wrong_ledger_is_one_line(place: Path, capsys: pytest.CaptureFixture[str], text: str, told: str) -> None:
    fill(place / "photos", 4)
    Path("data").mkdir()
    Path("data/ledger.csv").write_text(text)
    assert stage.main() == 1
    error = capsys.readouterr().err
    assert told in error and "data/ledger.csv" in error and "restore the file from git, or delete it" in error
    assert error.count("\n") == 1
    assert Path("data/ledger.csv").read_text() == text
    assert not Path("data/clean").exists()


def test_read_and_write(tmp_path: Path) -> None:
    places = {"bbbbbbbbbbbb": Place("test", 0), "aaaaaaaaaaaa": Place("train", 12)}
    ledger.write(tmp_path / "ledger.csv", places)
    text = "photo_id,split,shard\naaaaaaaaaaaa,train,12\nbbbbbbbbbbbb,test,0\n"
    assert (tmp_path / "ledger.csv").read_bytes() == text.encode()
    assert ledger.read(tmp_path / "ledger.csv") == places
    assert ledger.read(tmp_path / "none.csv") == {}
    with pytest.raises(LedgerError):
        ledger.read(tmp_path)


def test_recorded_photos_count_towards_the_quotas() -> None:
    photos = [hashlib.sha256(str(i).encode()).hexdigest()[:12] for i in range(400)]
    scenes = {photo: f"scene {i % 5}" for i, photo in enumerate(photos)}
    first = assign_splits({photo: scenes[photo] for photo in photos[:60]}, 0.125, 0.2)
    both = assign_splits(scenes, 0.125, 0.2, first)
    assert both.items() >= first.items()
    assert Counter(both.values()) == {"test": 80, "val": 50, "train": 270}
    for scene in set(scenes.values()):
        counts = Counter(both[photo] for photo in photos if scenes[photo] == scene)
        assert counts["test"] == 16 and counts["val"] == 10


def test_large_shards_are_written_in_row_groups(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(place / "photos", 10)
    stage.ingest(config(photos_per_shard=100))
    whole = all_rows()
    monkeypatch.setattr(parquet, "ROW_GROUP", 2)
    stage.ingest(config(photos_per_shard=100))
    assert len(list(Path("data/clean").glob("train-*.parquet"))) == 1
    pd.testing.assert_frame_equal(all_rows(), whole)
