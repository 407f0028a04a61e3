"""The pairs: rows that say what was done, splits that share no photo, bytes that do not change."""

from __future__ import annotations

import json
import shutil

import numpy as np

from components import storage
from components.degradations.recipe import apply_recipe
from components.diagnosis import TYPES, Diagnosis
from components.synthesis.synthesize import CASES, photo_of
from tests.tiny import stage, write_params


def test_every_row_replays(workspace):
    rows = storage.read_shards(workspace / "data/pairs", "test")
    assert len(rows) == 20 and set(rows["case"]) == set(CASES)
    for row in rows.itertuples():
        clean, degraded = storage.decode_image(row.clean), storage.decode_image(row.degraded)
        assert np.array_equal(apply_recipe(clean, json.loads(row.recipe)), degraded)
        assert [kind for kind, s in zip(TYPES, row.severities, strict=True) if s > 0] or row.case != "haze"
        if row.case == "clean":
            assert np.array_equal(clean, degraded) and not any(row.severities)


def test_every_case_meets_every_photo():
    for photos in range(1, 60):
        for case in range(len(CASES)):
            met = {photo_of(number, photos, len(CASES)) for number in range(case, len(CASES) * photos, len(CASES))}
            assert len(met) == photos


def test_splits_share_no_photo(workspace):
    seen = [set(storage.read_shards(workspace / "data/pairs", s)["photo_id"]) for s in ("train", "val", "test")]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_more_pairs_leave_the_earlier_ones_as_they_were(workspace, tmp_path):
    shutil.copytree(workspace / "data/clean", tmp_path / "data/clean")
    write_params(tmp_path, synthesize={"train_pairs": 33})
    stage(tmp_path, "components.synthesis.synthesize")
    for split in ("val", "test"):
        first, again = ((top / "data/pairs" / f"{split}-00000.parquet").read_bytes() for top in (workspace, tmp_path))
        assert first == again
    old, new = (storage.read_shards(top / "data/pairs", "train") for top in (workspace, tmp_path))
    assert old["degraded"].tolist() == new["degraded"].tolist()[:30]


def test_annotations_tell_what_the_recipe_did(workspace):
    pairs = storage.read_shards(workspace / "data/pairs", "train")
    told = storage.read_shards(workspace / "data/annotations", "train")
    assert pairs["pair_id"].tolist() == told["pair_id"].tolist()
    for severities, text in zip(pairs["severities"], told["diagnosis"], strict=True):
        diagnosis = Diagnosis.model_validate_json(text)
        assert set(diagnosis.findings) == {t for t, s in zip(TYPES, severities, strict=True) if s >= 1}
        assert len(diagnosis.reasoning) >= 2 and len(diagnosis.evidence) == 7


def test_without_clean_photos_it_ends_with_one_line(tmp_path):
    write_params(tmp_path)
    done = stage(tmp_path, "components.synthesis.synthesize", check=False)
    assert done.returncode != 0
    assert "no shard train-*.parquet" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "data/pairs").exists()
