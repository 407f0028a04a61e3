"""The reasoner's training is the same on one process and on two, and crosses from one to the other."""

from __future__ import annotations

import re

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard

from components import params
from components.reasoner import checkpoints, validation
from components.reasoner.config import ReasonerParams, count_processes, samples_per_process
from tests.reasoner.runs import MODULE, checkpoint, copy_of, kill_at, losses
from tests.tiny import stage, tiny_params, write_params

# one process and several add up in another order: the last bits of float32, some steps on
SAME = 1e-5


def reasoner_params(**changes) -> ReasonerParams:
    return ReasonerParams.model_validate(tiny_params(reasoner=changes)["reasoner"])


@pytest.fixture(scope="module")
def alone(workspace, tmp_path_factory):
    """A workspace trained by one process, all checkpoints kept."""
    folder = copy_of(workspace, tmp_path_factory.mktemp("alone") / "w")
    write_params(folder, reasoner={"keep_checkpoints": 4})
    stage(folder, MODULE)
    return folder


def test_two_processes_learn_the_same_and_one_goes_on_where_they_were_killed(alone, tmp_path):
    folder = copy_of(alone, tmp_path / "two")
    write_params(folder, reasoner={"processes": 2, "keep_checkpoints": 4})
    kill_at(folder, 4, tmp_path / "log")
    expected = losses(alone)
    together = losses(folder, 4)
    assert together == pytest.approx({name: expected[name] for name in together}, rel=SAME)
    write_params(folder, reasoner={"keep_checkpoints": 4})
    done = stage(folder, MODULE)
    resumed = re.search(r"resuming from checkpoint-(\d+)", done.stdout)
    assert resumed
    assert (checkpoint(folder, int(resumed[1])) / "latest_universal").exists()
    assert losses(folder) == pytest.approx(expected, rel=SAME)


def test_two_processes_go_on_where_one_was_killed(alone, tmp_path):
    folder = copy_of(alone, tmp_path / "more", checkpoints=True)
    for step in (6, 8):  # as if it had been killed before them, half-way through one
        (checkpoint(folder, step) / "COMPLETE").unlink()
    write_params(folder, reasoner={"processes": 2, "keep_checkpoints": 4})
    done = stage(folder, MODULE)
    assert "converting checkpoint-4 of 1 process" in done.stdout
    assert "resuming from checkpoint-4" in done.stdout
    assert losses(folder) == pytest.approx(losses(alone), rel=SAME)


def test_samples_that_cannot_be_shared_evenly_are_refused(workspace, tmp_path):
    folder = copy_of(workspace, tmp_path / "uneven")
    write_params(folder, reasoner={"batch_size": 4, "processes": 3})
    done = stage(folder, MODULE, check=False)
    line = "train_reasoner: reasoner.batch_size: 4 samples over all processes cannot be shared evenly among "
    assert done.stderr.splitlines()[-1] == f"{line}reasoner.processes: 3; choose a multiple of 3"
    assert not (folder / "work").exists()


def test_the_processes_of_a_cluster_are_the_slots_of_its_hosts(tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("# ours\nnode1 slots=2\n\nnode2 slots=6  # the larger one\n", encoding="utf-8")
    config = reasoner_params(hostfile=str(hosts), batch_size=16)
    assert count_processes(config) == 8
    assert samples_per_process(config, 8) == 2
    with pytest.raises(params.ParamsError, match=r"batch_size: 12 .* the 8 slots of reasoner.hostfile"):
        samples_per_process(config.model_copy(update={"batch_size": 12}), 8)
    hosts.write_text("node1 2\n", encoding="utf-8")
    with pytest.raises(params.ParamsError, match="lines such as 'node1 slots=8'"):
        count_processes(config)
    with pytest.raises(params.ParamsError, match=r"hostfile: cannot read .*: No such file"):
        count_processes(config.model_copy(update={"hostfile": "nowhere"}))


def test_what_names_a_training_leaves_out_where_it_runs():
    config = reasoner_params()
    elsewhere = config.model_copy(update={"processes": 4, "hostfile": "hosts", "keep_checkpoints": 1})
    assert config.what_it_learns() == elsewhere.what_it_learns()
    assert config.what_it_learns() != config.model_copy(update={"batch_size": 8}).what_it_learns()


def test_each_process_gets_its_part_of_every_global_batch():
    """What `AnswerTrainer` relies on: whole batches are dealt out in turn, in order."""
    batches = torch.utils.data.BatchSampler(range(12), batch_size=2, drop_last=False)
    seen = [list(BatchSamplerShard(batches, num_processes=3, process_index=rank)) for rank in range(3)]
    assert seen == [[[0, 1], [6, 7]], [[2, 3], [8, 9]], [[4, 5], [10, 11]]]


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_every_process_judges_equally_often_and_every_sample_once(processes):
    samples = [{"number": torch.tensor(i), "chosen": torch.tensor([i])} for i in range(11)]
    shares = [list(validation.share(samples, 2, rank, processes)) for rank in range(processes)]
    assert len({len(batches) for batches in shares}) == 1
    judged = [int(i) for batches in shares for batch in batches for i in batch["chosen"].flatten() if i >= 0]
    assert sorted(judged) == list(range(11))


def test_the_best_and_the_newest_checkpoints_are_kept(tmp_path):
    for step in (2, 4, 6, 8, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step != 10:
            checkpoints.mark_complete(tmp_path / f"checkpoint-{step}", 2)
    checkpoints.prune(tmp_path, 2, best=2)
    assert [path.name for path in checkpoints.newest_first(tmp_path)] == [
        f"checkpoint-{step}" for step in (10, 8, 6, 2)
    ]
    assert checkpoints.last_complete(tmp_path) == tmp_path / "checkpoint-8"
    checkpoints.drop_torn(tmp_path)
    assert not (tmp_path / "checkpoint-10").exists()
    assert checkpoints.needs_universal(tmp_path / "checkpoint-8", 1, 2)
    assert not checkpoints.needs_universal(tmp_path / "checkpoint-8", 2, 2)
    assert not checkpoints.needs_universal(tmp_path / "checkpoint-8", 1, 0)


def test_a_checkpoint_that_cannot_be_converted_is_named(tmp_path):
    broken = tmp_path / "checkpoint-4"
    (broken / "global_step4").mkdir(parents=True)
    (broken / "latest").write_text("global_step4", encoding="utf-8")
    checkpoints.mark_complete(broken, 2)
    with pytest.raises(checkpoints.CheckpointError, match=r"checkpoint-4: cannot be .*reasoner.processes to 2"):
        checkpoints.make_universal(broken)
