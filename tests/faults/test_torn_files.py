"""Shards and checkpoints that are cut short, emptied or changed: noticed, said in one line, made again.

pytest -m quick_faults tests/faults/test_torn_files.py
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, drawn, some
from tests.faults.stages import Bench, kill
from tests.faults.test_disk import assert_one_line


def cut(path: Path, draw: random.Random) -> None:
    """Only the first part is left, as after a power cut."""
    path.write_bytes(path.read_bytes()[: draw.randrange(1, path.stat().st_size)])


def empty(path: Path, draw: random.Random) -> None:
    path.write_bytes(b"")


def flip(path: Path, draw: random.Random) -> None:
    """A few bytes in the middle are others; the length stays."""
    content = bytearray(path.read_bytes())
    start = draw.randrange(len(content) // 4, 3 * len(content) // 4)
    for i in range(start, min(len(content), start + 64)):
        content[i] ^= 0xFF
    path.write_bytes(bytes(content))


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {"truncated": cut, "emptied": empty, "changed": flip}


def stopped_with(bench: Bench, stage: str, folder: Path, pattern: str, least: int) -> list[Path]:
    """Kill the stage as soon as `least` files of a pattern are there; returns them in order of their names."""
    for _ in range(20):
        run = bench.start(stage, folder)
        while len(list(folder.glob(pattern))) < least and run.wait(0) is None:
            run.wait(0.01)
        kill(run, everything=True)
        bench.assert_no_orphan()
        found = sorted(folder.glob(pattern))
        if len(found) >= least and not bench.outputs(stage, folder):
            return found
        bench.forget(stage, folder)
    raise AssertionError(f"{stage} was never stopped half-way")


@pytest.mark.parametrize("number", some(range(2), [0]))
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", some(["the newest checkpoint", "every checkpoint"], ["the newest checkpoint"]))
def test_the_restorer_goes_on_without_damaged_checkpoints(
    bench: Bench, campaign: Campaign, tmp_path: Path, which: str, damage: str, number: int
) -> None:
    folder, draw = bench.folder("train_restorer", tmp_path / "here"), drawn("restorer", which, damage, number)
    found = stopped_with(bench, "train_restorer", folder, "work/restorer/*/step-*.pt", 2)
    hit = found if which == "every checkpoint" else found[-1:]
    for path in hit:
        DAMAGES[damage](path, draw)
    said = bench.finish("train_restorer", folder).said()
    assert said.count("this checkpoint is damaged and removed") == len(hit)
    assert ("resuming from step" in said) == (which != "every checkpoint")
    bench.assert_done("train_restorer", folder)
    campaign.note(f"checkpoint {damage}", "train_restorer")


@pytest.mark.parametrize("damage", some(DAMAGES, ["truncated"]))
def test_refinement_begins_anew_when_its_checkpoint_is_damaged(
    bench: Bench, campaign: Campaign, tmp_path: Path, damage: str
) -> None:
    folder = bench.folder("refine", tmp_path / "here")
    (found,) = stopped_with(bench, "refine", folder, "work/refine/*/last.pt", 1)
    DAMAGES[damage](found, drawn("refine", damage))
    assert "last.pt: this checkpoint is damaged and removed" in bench.finish("refine", folder).said()
    bench.assert_done("refine", folder)
    campaign.note(f"checkpoint {damage}", "refine")


@pytest.mark.parametrize("damage", some(DAMAGES, ["changed"]))
def test_shards_that_a_killed_synthesis_left_are_looked_at(
    bench: Bench, campaign: Campaign, tmp_path: Path, damage: str
) -> None:
    folder = bench.folder("synthesize", tmp_path / "here")
    found = stopped_with(bench, "synthesize", folder, "data/pairs-*.part/*.parquet", 1)
    DAMAGES[damage](found[0], drawn("part", damage))
    bench.finish("synthesize", folder)
    bench.assert_done("synthesize", folder)
    campaign.note(f"half-made shard {damage}", "synthesize")


# who reads which folder of shards first
READERS = {"synthesize": "data/clean", "annotate": "data/pairs", "diagnose": "data/pairs"}
READERS |= {"train_restorer": "data/priors", "refine": "data/annotations", "evaluate": "data/pairs"}


@pytest.mark.parametrize("damage", some(["truncated", "emptied"], ["truncated"]))
@pytest.mark.parametrize("stage", READERS)
def test_a_damaged_shard_is_named_in_one_line(
    bench: Bench, campaign: Campaign, tmp_path: Path, stage: str, damage: str
) -> None:
    """DVC sees any change of an input by its digest; a stage by itself must at least not go on with half of it."""
    folder = bench.folder(stage, tmp_path / "here", own=(READERS[stage],))
    # every stage reads the shards of the test split but the trainings
    split = "train" if stage in ("train_restorer", "refine") else "test"
    shard = sorted((folder / READERS[stage]).glob(f"{split}-*.parquet"))[0]
    whole = shard.read_bytes()
    DAMAGES[damage](shard, drawn("shard", stage, damage))
    run = bench.start(stage, folder)
    assert_one_line(run)
    assert f"{shard.relative_to(folder)}: damaged" in run.said()
    bench.assert_no_orphan()
    assert not bench.outputs(stage, folder)
    shard.write_bytes(whole)
    bench.finish(stage, folder)
    bench.assert_done(stage, folder)
    campaign.note(f"input shard {damage}", stage)


def test_a_damaged_model_is_named_in_one_line(bench: Bench, campaign: Campaign, tmp_path: Path) -> None:
    folder = bench.folder("refine", tmp_path / "here")
    model = folder / "models/restorer"
    model.unlink()
    shutil.copytree(bench.truth / "models/restorer", model)
    cut(model / "model.safetensors", drawn("model"))
    assert_one_line(bench.start("refine", folder))
    assert not bench.outputs("refine", folder)
    shutil.copy(bench.truth / "models/restorer/model.safetensors", model)
    bench.finish("refine", folder)
    bench.assert_done("refine", folder)
    campaign.note("model truncated", "refine")
