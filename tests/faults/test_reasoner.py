"""The reasoner's training, whose processes are three deep: killed at every depth, its checkpoints damaged.

pytest -m quick_faults tests/faults/test_reasoner.py
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import psutil
import pytest

from components.reasoner import checkpoints
from components.reasoner.finished import final
from tests.faults.campaign import Campaign, drawn, rounds, some
from tests.faults.stages import Bench
from tests.faults.test_torn_files import DAMAGES, cut

STAGE = "train_reasoner"
CHECKPOINTS = "work/reasoner/*/checkpoint-*/COMPLETE"


@pytest.fixture(scope="module")
def trained(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What an undisturbed training gives; `seconds` is how long it took."""
    # the first on a machine compiles DeepSpeed's extension: kills drawn from its length would come too late
    bench.finish(STAGE, bench.folder(STAGE, tmp_path_factory.mktemp("reasoner") / "first"))
    folder = bench.folder(STAGE, tmp_path_factory.mktemp("reasoner") / "here")
    began = time.monotonic()
    bench.finish(STAGE, folder)
    return {"outputs": bench.outputs(STAGE, folder), "seconds": time.monotonic() - began, "folder": folder}


def depths(pid: int) -> list[psutil.Process]:
    """The stage, its launcher, its worker; those that are there."""
    found = [psutil.Process(pid)]
    while children := found[-1].children():
        found.append(children[0])
    return found[:3]


@pytest.mark.parametrize("number", rounds(0, 3))
def test_a_killed_training_goes_on(
    bench: Bench, campaign: Campaign, tmp_path: Path, trained: dict, number: int
) -> None:
    folder, draw = bench.folder(STAGE, tmp_path / "here"), drawn(STAGE, number)
    killed = 0
    for depth in (0, 1, 2):
        run = bench.start(STAGE, folder)
        code = run.wait(draw.uniform(0.3, 0.7) * trained["seconds"])
        if code is None:
            family = depths(run.pid)
            family[min(depth, len(family) - 1)].kill()
            killed += 1
            code = run.wait(60)
            assert code not in (0, None)
        bench.assert_no_orphan()
        for out, digests in bench.outputs(STAGE, folder).items():
            assert digests == trained["outputs"][out]
    bench.finish(STAGE, folder)
    assert bench.outputs(STAGE, folder) == trained["outputs"]
    assert killed, "the training was over before its first kill"
    campaign.note("SIGKILL at a random moment", STAGE, count=killed)
    # what a later change of the parameters would find in the work folder
    (work,) = [path.parent for path in folder.glob("work/reasoner/*/metrics.json")]
    done = final(work)
    cut(done / "model.safetensors", draw)
    again = bench.finish(STAGE, folder)
    assert "damaged (model.safetensors is not as written); made again" in again.said()
    assert bench.outputs(STAGE, folder) == trained["outputs"]
    campaign.note("finished model in the work folder truncated", STAGE)


def made_up(folder: Path, step: int, best: int) -> Path:
    """A checkpoint with the files that matter."""
    checkpoint = checkpoints.at_step(folder, step)
    checkpoint.mkdir(parents=True)
    for name in ("model.safetensors", "optimizer.pt"):
        (checkpoint / name).write_bytes(os.urandom(4096))
    (checkpoint / "trainer_state.json").write_text(json.dumps({"best_global_step": best}))
    checkpoints.mark_complete(checkpoint, 1)
    return checkpoint


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.pt", "trainer_state.json", "COMPLETE"])
def test_a_damaged_checkpoint_is_passed_over(
    campaign: Campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, damage: str
) -> None:
    older, newer = made_up(tmp_path, 2, best=2), made_up(tmp_path, 4, best=4)
    DAMAGES[damage](newer / file, drawn("checkpoint", file, damage))
    checkpoints.drop_damaged(tmp_path)
    assert checkpoints.last_complete(tmp_path) == older
    assert capsys.readouterr().out.count("damaged and removed") == 1
    campaign.note(f"checkpoint {damage}", STAGE, "an older one taken")


def test_a_checkpoint_without_the_best_before_it_is_passed_over(campaign: Campaign, tmp_path: Path) -> None:
    first = made_up(tmp_path, 2, best=2)
    best = made_up(tmp_path, 4, best=4)
    made_up(tmp_path, 6, best=4)
    cut(best / "model.safetensors", drawn("best"))
    checkpoints.drop_damaged(tmp_path)
    assert checkpoints.newest_first(tmp_path) == [first]
    campaign.note("checkpoint truncated", STAGE, "an older one taken")


@pytest.mark.parametrize("damage", some(DAMAGES, ()))
def test_a_training_goes_on_without_its_newest_checkpoint(
    bench: Bench, campaign: Campaign, tmp_path: Path, trained: dict, damage: str
) -> None:
    folder = bench.folder(STAGE, tmp_path / "here")
    run = bench.start(STAGE, folder)
    while len(list(folder.glob(CHECKPOINTS))) < 2 and run.wait(0) is None:
        run.wait(0.02)
    os.killpg(run.pid, 9)
    bench.assert_no_orphan()
    newest = max((path.parent for path in folder.glob(CHECKPOINTS)), key=checkpoints.step_of)
    DAMAGES[damage](newest / "model.safetensors", drawn("newest", damage))
    assert f"{newest.name}: this checkpoint is damaged and removed" in bench.finish(STAGE, folder).said()
    assert bench.outputs(STAGE, folder) == trained["outputs"]
    campaign.note(f"checkpoint {damage}", STAGE)
