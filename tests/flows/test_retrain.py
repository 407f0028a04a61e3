"""The flow on the toy repository: real DVC, Prefect and MLflow; the models' measuring and loading are stood in for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from components import params, tracking
from components.promotion import promote as promotion
from components.promotion.gate import Smoke
from components.promotion.rollback import rollback
from flows import dvc_graph, parent_run, preflight, retrain
from flows.stage import Children, StageFailed, StageResult
from tests.flows.toy import metrics, write_params

FRESH = ["mix", "left", "right", "join"]


@pytest.fixture
def models_stand_in(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The toy's models cannot restore: smoke test and measuring are stood in for. Returns what was measured."""
    measured: list[Path] = []

    def measure(folder: Path) -> dict:
        measured.append(folder)
        return metrics(25.0)

    monkeypatch.setattr(promotion, "measure", measure)
    monkeypatch.setattr(promotion, "smoke_test", lambda folder, timeout: Smoke(1.0))
    return measured


def outcomes(summary: retrain.Summary) -> dict[str, str]:
    return {stage.name: stage.outcome for stage in summary.stages}


def test_runs_all_then_nothing_then_what_changed(toy: Path, models_stand_in: list[Path]) -> None:
    first = retrain.run()
    assert first.executed == FRESH
    assert first.verdict.action == "promoted"
    assert (first.version, first.created) == ("1", True)
    store = tracking.client()
    run = store.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["stage.mix.outcome"] == "executed"
    # the stage joined the run that the flow made for it, nested in the parent
    child = store.get_run(Path("ran-mix").read_text(encoding="utf-8"))
    assert child.data.tags["mlflow.parentRunId"] == first.run_id
    assert child.info.status == "FINISHED"

    for file in Path().glob("ran-*"):
        file.unlink()
    second = retrain.run()
    assert outcomes(second) == dict.fromkeys(FRESH, "skipped")
    assert not list(Path().glob("ran-*"))
    assert (second.version, second.created, second.verdict.action) == ("1", False, "unchanged")
    # the report of the first was checked by measuring; the second promotes nothing
    assert len(models_stand_in) == 1
    # skipped stages make no run, and the parent links to the earlier ones
    links = store.get_run(second.run_id).data.tags
    assert links["stage.mix.run_id"] == child.info.run_id
    children = store.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{second.run_id}'")
    assert not children

    # new data: a new version, measured against the champion
    Path("data.txt").write_text("other\n", encoding="utf-8")
    third = retrain.run()
    assert third.executed == FRESH
    assert (third.version, third.verdict.champion) == ("2", "1")
    assert len(models_stand_in) == 3

    # back again: DVC restores from its run cache, no run is kept for it
    Path("data.txt").write_text("data\n", encoding="utf-8")
    fourth = retrain.run()
    assert outcomes(fourth) == dict.fromkeys(FRESH, "restored")
    assert (fourth.version, fourth.created) == ("1", False)
    assert rollback().after == "2"


def test_a_failed_stage_is_one_line_and_the_next_run_goes_on(toy: Path, models_stand_in: list[Path]) -> None:
    Path("break-left").touch()
    with pytest.raises(retrain.RetrainError) as failure:
        retrain.run()
    assert str(failure.value) == "stage left failed (exit code 255): left: the lamp is broken"
    # the other branch was finished, what needs the broken one left out
    assert Path("ran-right").exists()
    assert not Path("ran-join").exists()
    store = tracking.client()
    experiment = store.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    states = {run.info.run_name: run.info.status for run in store.search_runs([experiment])}
    assert states == {"retrain": "FAILED", "mix": "FINISHED", "left": "FAILED", "right": "FINISHED"}
    Path("break-left").unlink()
    assert outcomes(retrain.run()) == {"mix": "skipped", "left": "executed", "right": "skipped", "join": "executed"}


def test_a_stage_is_tried_again_and_git_is_not_needed(toy: Path, models_stand_in: list[Path]) -> None:
    write_params(retries=1)
    shutil.rmtree(".git")
    subprocess.run([sys.executable, "-m", "dvc", "config", "core.no_scm", "true"], check=True)
    # breaks once: the first attempt removes what breaks it
    script = Path("stage.py").read_text(encoding="utf-8")
    once = 'print("an earlier line", flush=True); pathlib.Path(f"break-{stage}").unlink()'
    Path("stage.py").write_text(script.replace('print("an earlier line", flush=True)', once), encoding="utf-8")
    Path("break-mix").touch()
    summary = retrain.run()
    assert summary.executed == FRESH
    assert tracking.client().get_run(summary.run_id).data.tags["git_sha"] == "none"


def test_branches_share_the_cores_and_prefect_gets_lines_and_metrics(toy: Path, models_stand_in: list[Path]) -> None:
    from prefect.artifacts import Artifact
    from prefect.client.orchestration import get_client

    assert retrain.run(parallelism=2).executed == FRESH
    threads = max(1, (os.cpu_count() or 1) // 2)
    assert f'"threads": {threads}' in Path("metrics/left.json").read_text(encoding="utf-8")
    artifact = Artifact.get("metrics-join")
    assert artifact is not None
    assert '"run.threads"' in str(getattr(artifact, "data", None))
    with get_client(sync_client=True) as client:
        for _ in range(50):
            texts = [entry.message for entry in client.read_logs()]
            if "hello from join" in texts:
                break
            time.sleep(0.2)
    assert "hello from join" in texts


def test_a_refusal_ends_well_and_says_why(
    toy: Path, models_stand_in: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotion, "smoke_test", lambda folder, timeout: Smoke(90.0))
    summary = retrain.run()
    assert summary.verdict.action == "refused"
    assert summary.verdict.reasons[0].startswith("latency: 90.00 s per megapixel")
    assert "latency" in tracking.client().get_run(summary.run_id).data.tags["reasons"]
    # the same again is not measured again
    monkeypatch.setattr(promotion, "smoke_test", lambda folder, timeout: pytest.fail("measured again"))
    again = retrain.run()
    assert (again.verdict.accepted, again.verdict.action) == (False, "unchanged")
    assert again.verdict.reasons == summary.verdict.reasons


def test_a_second_run_at_once_is_refused(toy: Path) -> None:
    with retrain.only_run(), pytest.raises(retrain.RetrainError, match=f"process {os.getpid()}"), retrain.only_run():
        pass


def wait_for(path: Path, seconds: float = 60) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and path.read_text(encoding="utf-8"):
            return int(path.read_text(encoding="utf-8"))
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_no_training_outlives_its_flow(toy: Path, how: str) -> None:
    """Stopped in good order, or killed outright with `kill -9`: the process tree of the stage ends."""
    Path("hang-mix").touch()
    script = (
        "import os; from flows.stage import Children, Stopped, repro\n"
        "import threading, sys\n"
        "children = Children()\n"
        "def stop():\n"
        "    sys.stdin.read(); children.stop()\n"
        "threading.Thread(target=stop, daemon=True).start()\n"
        "try:\n"
        "    repro('mix', children, dict(os.environ, OMP_NUM_THREADS='1'), print)\n"
        "except Stopped as stopped:\n"
        "    print('stopped:', stopped)\n"
    )
    repository = str(Path(retrain.__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": repository, "RNR_STOP_GRACE_SECONDS": "5"}
    flow = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    hanging = psutil.Process(wait_for(Path("hanging")))
    if how == "stop":
        said, _ = flow.communicate(timeout=30)
        assert "stopped: stage mix was stopped" in said
    else:
        flow.kill()
        flow.wait()
    hanging.wait(timeout=15)
    # and the repository is not left locked
    Path("hang-mix").unlink()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q", "mix"], check=True, timeout=60, env=environment)


def test_ctrl_c_stops_the_stages_and_closes_the_runs(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []
    monkeypatch.setattr(Children, "stop", lambda self: stopped.append(True))

    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), 15)
        time.sleep(10)

    monkeypatch.setattr(retrain, "run_stages", interrupted)
    with pytest.raises(KeyboardInterrupt):
        retrain.run()
    assert stopped
    store = tracking.client()
    experiment = store.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    assert [run.info.status for run in store.search_runs([experiment])] == ["KILLED"]


def test_stages_that_need_a_failed_one_are_left_out(toy: Path) -> None:
    stages = dvc_graph.stages()
    assert retrain.left_out(stages, {"left"}) == {"left", "join"}
    assert retrain.left_out(stages, set()) == set()


def test_summary_is_json(toy: Path) -> None:
    result = StageResult("mix", "executed", 1.0, "abc")
    summary = retrain.Summary((result,), "1", True, promotion.Verdict(True, ()), "run", 2.0)
    assert json.loads(json.dumps(summary.as_dict()))["stages"][0]["outcome"] == "executed"


def test_the_full_disk_is_named_before_anything_starts(toy: Path) -> None:
    write_params(min_free_disk_gb=1e9)
    with pytest.raises(retrain.RetrainError, match="GB free on this disk"):
        retrain.run()
    assert not Path("ran-mix").exists()


def test_the_folder_of_the_temporary_server_is_made(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # without it the server dies at once, and Prefect starts it again for minutes
    monkeypatch.setenv("PREFECT_HOME", str(toy / "far" / "away"))
    monkeypatch.setattr(retrain, "retrain", lambda *_: (toy / "far" / "away").is_dir())
    assert retrain.run() is True


def test_every_section_is_checked(tmp_path: Path) -> None:
    text = (Path(retrain.__file__).resolve().parents[1] / "params.yaml").read_text(encoding="utf-8")
    right = tmp_path / "params.yaml"
    right.write_text(text, encoding="utf-8")
    preflight.check_params(str(right))
    for wrong, culprit in (
        (text + "\nextra: {}\n", "unknown section 'extra'"),
        (text.replace("flow:\n", "flow:\n  extra: 1\n"), "flow.extra: unknown key"),
        (text.replace("parallelism: 1", "parallelism: 0"), "flow.parallelism"),
        (text.replace("evaluate:", "evaluation:"), "unknown section 'evaluation'"),
    ):
        right.write_text(wrong, encoding="utf-8")
        with pytest.raises(params.ParamsError, match=culprit) as failure:
            preflight.check_params(str(right))
        assert "\n" not in str(failure.value)


def test_a_dropped_child_leaves_no_run(toy: Path) -> None:
    parent = parent_run.start_parent("retrain")
    parent_run.drop(parent_run.start_child(parent, "mix"))
    store = tracking.client()
    experiment = store.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    assert [run.info.run_id for run in store.search_runs([experiment])] == [parent]


def test_stage_failed_is_the_base_of_stopped() -> None:
    from flows.stage import Stopped, last_words

    assert issubclass(Stopped, StageFailed)
    assert last_words(["a", "why it broke", "ERROR: failed to reproduce 'x': failed to run: y, exited with 1", ""]) == (
        "why it broke"
    )
    assert last_words([]) == "it said nothing"
