"""SIGKILL at seeded moments of every stage: kill, go on, kill, go on, ..., finish, compare.

pytest -m quick_faults tests/faults/test_kills.py
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, drawn, rounds, some
from tests.faults.stages import STAGES, Bench, kill

STAGES_BUT_REASONER = [stage for stage in STAGES if stage != "train_reasoner"]
KILLS = 6
# a stage that goes on from a checkpoint is soon at its end: then it begins anew
MOST_STARTS = 5 * KILLS


@pytest.mark.parametrize("number", rounds(1, 3))
@pytest.mark.parametrize("stage", STAGES_BUT_REASONER)
def test_a_killed_stage_goes_on(bench: Bench, campaign: Campaign, tmp_path: Path, stage: str, number: int) -> None:
    draw, folder = drawn("kill", stage, number), bench.folder(stage, tmp_path / "here")
    killed, longest = 0, bench.seconds[stage]
    for _ in range(MOST_STARTS):
        run = bench.start(stage, folder)
        code = run.wait(draw.uniform(0.02, 0.95) * longest)
        if code is None:
            code = kill(run, everything=draw.random() < 0.5)
        if code == -9:
            killed += 1
            bench.assert_no_orphan()
            bench.assert_nothing_half(stage, folder)
        else:
            assert code == 0, run.said()[-3000:]
            bench.assert_done(stage, folder)
            bench.forget(stage, folder)
            # the undisturbed run was slower than this one: the next kill must come earlier
            longest *= 0.7
        if killed == KILLS:
            break
    bench.finish(stage, folder)
    bench.assert_done(stage, folder)
    assert killed == KILLS
    campaign.note("SIGKILL at a random moment", stage, count=killed)


@pytest.mark.parametrize("stage", some(STAGES_BUT_REASONER, ["synthesize", "annotate", "train_restorer"]))
def test_two_at_once_give_what_one_gives(bench: Bench, campaign: Campaign, tmp_path: Path, stage: str) -> None:
    folder = bench.folder(stage, tmp_path / "here")
    first = bench.start(stage, folder)
    time.sleep(drawn("two", stage).uniform(0, 0.5) * bench.seconds[stage])
    second = bench.start(stage, folder)
    assert [first.wait(), second.wait()] == [0, 0], second.said()[-3000:]
    bench.assert_done(stage, folder)
    campaign.note("the same stage started twice at once", stage)


@pytest.mark.parametrize("days", [-400, pytest.param(30, marks=pytest.mark.faults)])
@pytest.mark.parametrize("stage", some(STAGES_BUT_REASONER, ["ingest", "diagnose", "train_restorer"]))
def test_the_clock_jumps(bench: Bench, campaign: Campaign, tmp_path: Path, stage: str, days: int) -> None:
    folder = bench.folder(stage, tmp_path / "here")
    moment = drawn("clock", stage, days).uniform(0.1, 0.9) * bench.seconds[stage]
    bench.finish(stage, folder, jumps=[[0.0, 0.0], [moment, days * 86400.0]])
    bench.assert_done(stage, folder)
    campaign.note("the clock jumps (time.time)", stage)
