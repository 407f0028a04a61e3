"""The pairs: rows that say what was done, splits that share no photo, bytes that do not change."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import load_dataset
from PIL import Image

from components import storage
from components.degradations.recipe import apply_recipe
from components.diagnosis import TYPES, Diagnosis
from components.params import ParamsError
from components.storage import parquet
from components.synthesis import pairs
from components.synthesis.depths import DepthSource
from tests.tiny import environment, stage, write_params

STAGE = "components.synthesis.synthesize"


def shards(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "data/pairs").glob("*.parquet"))}


def test_every_row_replays(workspace):
    rows = parquet.read_split(workspace / "data/pairs", "test")
    assert len(rows) == 33
    for row in rows.to_dict("records"):
        clean, degraded = storage.decode_image(row["clean"]), storage.decode_image(row["degraded"])
        assert np.array_equal(pairs.replay(row), degraded)
        recipe = json.loads(row["recipe"])
        assert {step["type"] for step in recipe} >= {k for k, s in zip(TYPES, row["severities"], strict=True) if s > 0}
        if row["case"] == "clean":
            assert np.array_equal(clean, degraded) and not any(row["severities"])


def test_the_clean_side_comes_from_the_photo(workspace):
    photos = parquet.read_split(workspace / "data/clean", "train").set_index("photo_id")
    rows = parquet.read_split(workspace / "data/pairs", "train")
    looks = [json.loads(row.look) for row in rows.itertuples()]
    assert any(looks) and not all(looks)
    for row, look in zip(rows.itertuples(), looks, strict=True):
        photo = storage.decode_image(photos.loc[row.photo_id, "image"])
        again = pairs.region_of(photo, list(row.region), look, 128)
        assert np.array_equal(again, storage.decode_image(row.clean))
    for split in ("val", "test"):
        assert set(parquet.read_split(workspace / "data/pairs", split)["look"]) == {"{}"}


def test_every_photo_meets_every_case():
    config = object.__new__(pairs.SynthesizeParams)
    for photo_id in ("00000000000a", "ffffffffffff"):
        drawn = {pairs.draw_case(config, "test", photo_id, number, torch.Generator()) for number in range(10)}
        assert drawn == set(pairs.CASES)


def test_splits_share_no_photo(workspace):
    seen = [set(parquet.read_split(workspace / "data/pairs", s)["photo_id"]) for s in ("train", "val", "test")]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_more_pairs_leave_the_earlier_ones_as_they_were(workspace, tmp_path):
    shutil.copytree(workspace / "data/clean", tmp_path / "data/clean")
    write_params(tmp_path, synthesize={"train_pairs_per_photo": 2})
    stage(tmp_path, STAGE)
    first, again = shards(workspace), shards(tmp_path)
    assert all(first[name] == again[name] for name in first if not name.startswith("train"))
    old, new = (parquet.read_split(top / "data/pairs", "train") for top in (workspace, tmp_path))
    assert old["degraded"].tolist() == new["degraded"].tolist()[: len(old)] and len(new) == 2 * len(old)


def test_a_new_shard_of_photos_adds_shards_of_pairs(workspace, tmp_path):
    shutil.copytree(workspace / "data/clean", tmp_path / "data/clean")
    added = pd.read_parquet(tmp_path / "data/clean/train-00000.parquet").iloc[:3].copy()
    added["photo_id"] = ["a" * 12, "b" * 12, "c" * 12]
    parquet.write(tmp_path / "data/clean", "train", 1, added)
    write_params(tmp_path)
    stage(tmp_path, STAGE)
    first, again = shards(workspace), shards(tmp_path)
    assert {name: again[name] for name in first} == first
    assert set(again) - set(first) == {"train-00001-00000.parquet"}


def test_killed_it_goes_on_with_whole_shards(workspace, tmp_path):
    """kill -9 of the whole process group as soon as the first shard is there."""
    shutil.copytree(workspace / "data/clean", tmp_path / "data/clean")
    write_params(tmp_path, synthesize={"train_pairs_per_photo": 14})
    command = [sys.executable, "-m", STAGE]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), start_new_session=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "data").glob("pairs-*.part/*.parquet")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "data/pairs").exists()
    whole = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "data").glob("pairs-*.part/*.parquet")}
    stage(tmp_path, STAGE)
    made = tmp_path / "data/pairs"
    assert {name: ((made / name).stat().st_mtime_ns, (made / name).read_bytes()) for name in whole} == whole
    assert not list((tmp_path / "data").glob("*.part")) and not list(made.glob(".*"))
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(tmp_path / "data/clean", undisturbed / "data/clean")
    write_params(undisturbed, synthesize={"train_pairs_per_photo": 14})
    stage(undisturbed, STAGE)
    assert shards(tmp_path) == shards(undisturbed)


def test_the_shards_open_with_the_usual_tools(workspace, tmp_path):
    files = {s: [str(p) for p in parquet.paths(workspace / "data/pairs", s)] for s in ("train", "test")}
    data = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path))
    assert data["test"].num_rows == 33 and len(data["train"][0]["severities"]) == len(TYPES)
    assert Image.open(io.BytesIO(data["train"][0]["degraded"])).size == (128, 128)


def test_annotations_tell_what_the_recipe_did(workspace):
    rows = parquet.read_split(workspace / "data/pairs", "train")
    told = parquet.read_split(workspace / "data/annotations", "train")
    assert rows["pair_id"].tolist() == told["pair_id"].tolist()
    for severities, text in zip(rows["severities"], told["diagnosis"], strict=True):
        diagnosis = Diagnosis.model_validate_json(text)
        assert set(diagnosis.findings) == {t for t, s in zip(TYPES, severities, strict=True) if s >= 1}
        assert len(diagnosis.reasoning) >= 2 and len(diagnosis.evidence) == 7


def test_without_clean_photos_it_ends_with_one_line(tmp_path):
    write_params(tmp_path)
    done = stage(tmp_path, STAGE, check=False)
    assert done.returncode != 0
    assert "no shard train-*.parquet" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "data/pairs").exists()


def test_depth_maps_are_cut_like_the_photo_and_stored_with_the_row(tmp_path, photos):
    ramp = np.tile(np.linspace(0, 65535, 192).astype(np.uint16), (192, 1))
    Image.fromarray(ramp).save(tmp_path / "a.png")
    source = DepthSource(str(tmp_path))
    depth = source.of("a.jpg", photos[0][:64, :64], [64, 0, 64], (192, 192))
    assert depth.shape == (64, 64) and depth.min() == 0 and depth.max() == 1
    assert np.all(np.diff(depth, axis=1) >= 0)
    assert np.array_equal(DepthSource.restored(DepthSource.stored(depth)), depth)
    recipe = [{"type": "haze", "level": 1.0, "seed": 1, "params": {"beta": 2.0, "airlight": [1.0, 1.0, 1.0],
               "horizon": 0.5, "floor": 0.1, "space": "srgb"}}]  # fmt: skip
    hazy = apply_recipe(np.zeros((64, 64, 3), np.uint8), recipe, depth)
    assert hazy[0, 0, 0] == 0 and hazy[0, -1, 0] == pytest.approx(255 * (1 - np.exp(-2)), abs=1)
    with pytest.raises(ParamsError, match=r"no depth map b\.png for photo b\.jpg"):
        source.of("b.jpg", photos[0], [0, 0, 192], (192, 192))
    with pytest.raises(ParamsError, match="neither generated, a folder"):
        DepthSource("nowhere")


def test_a_depth_model_is_asked_for_every_region(tmp_path, photos):
    class Rows(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.linspace(0, 5, image.shape[2]).view(1, 1, -1, 1).expand(1, 1, image.shape[2], image.shape[3])

    torch.jit.script(Rows()).save(str(tmp_path / "depth.pt"))
    depth = DepthSource(str(tmp_path / "depth.pt")).of("a.jpg", photos[0], [0, 0, 192], (192, 192))
    assert depth[0].max() == 0 and depth[-1].min() == 1
