"""The contract with DVC's internals and words, held against the real DVC."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows import dvc_graph
from flows.stage import outcome_of
from tests.flows.toy import dvc


def test_stages_come_in_order_with_their_needs_and_outputs(toy: Path) -> None:
    stages = dvc_graph.stages()
    assert [stage.name for stage in stages] == ["mix", "left", "right", "join"]
    needs = {stage.name: stage.deps for stage in stages}
    assert needs == {"mix": set(), "left": {"mix"}, "right": {"mix"}, "join": {"left", "right"}}
    assert stages[1].outs == ("models/restorer-refined",)
    assert stages[1].metrics == ("metrics/left.json",)
    assert "stage.py left" in stages[1].cmd


def test_foreach_stages_are_resolved(toy: Path) -> None:
    graph = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))
    graph["stages"]["copies"] = {
        "foreach": ["a", "b"],
        "do": {"cmd": "cp joined.txt ${item}.txt", "deps": ["joined.txt"], "outs": ["${item}.txt"]},
    }
    Path("dvc.yaml").write_text(yaml.safe_dump(graph), encoding="utf-8")
    found = {stage.name: stage for stage in dvc_graph.stages()}
    assert found["copies@a"].deps == {"join"}
    assert found["copies@b"].outs == ("b.txt",)


def test_data_tracked_by_dvc_add_is_no_stage(toy: Path) -> None:
    Path("other.txt").write_text("x", encoding="utf-8")
    dvc("add", "-q", "other.txt")
    assert "other.txt.dvc" not in [stage.name for stage in dvc_graph.stages()]
    assert len(dvc_graph.stages()) == 4


def test_status_names_what_changed_and_why(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert set(dvc_graph.status()) == {"mix", "left", "right", "join"}
    lines = dvc("repro").splitlines()
    assert [outcome_of(name, lines) for name in ("mix", "join")] == ["executed", "executed"]
    assert dvc_graph.status() == {}
    assert outcome_of("mix", dvc("repro", "mix").splitlines()) == "skipped"
    Path("data.txt").write_text("new\n", encoding="utf-8")
    changed = dvc_graph.status()
    assert set(changed) == {"mix"}
    assert "data.txt" in changed["mix"]
    dvc("repro")
    Path("data.txt").write_text("data\n", encoding="utf-8")
    assert outcome_of("mix", dvc("repro", "--single-item", "mix").splitlines()) == "restored"


def test_a_folder_without_dvc_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(dvc_graph.GraphError) as failure:
        dvc_graph.stages()
    assert str(tmp_path) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_broken_dvc_yaml_is_one_line(toy: Path) -> None:
    Path("dvc.yaml").write_text("stages: [", encoding="utf-8")
    with pytest.raises(dvc_graph.GraphError, match=r"dvc\.yaml") as failure:
        dvc_graph.stages()
    assert "\n" not in str(failure.value)
