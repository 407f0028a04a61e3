"""Runs, metrics, checkpoints and the folders of models, on a real MLflow store in SQLite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components import tracking
from components.tracking import lineage
from components.tracking.run import flatten

REPOSITORY = Path(tracking.__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tracking")


@pytest.fixture
def desk(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without DVC or git; the default store, shared by the tests of this file."""
    monkeypatch.chdir(place)
    for name in ("RANK", "MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    # restored afterwards, for mlflow writes it when it is set up
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    return place


def test_first_use_by_two_processes_at_once(desk: Path) -> None:
    script = (
        "import sys\nfrom components import tracking\n"
        "with tracking.stage_run('ingest', {'n': 1}) as run:\n    run.metrics({'loss': float(sys.argv[1])}, step=1)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(i)], env=environment, stderr=subprocess.PIPE, text=True)
        for i in range(2)
    ]
    for child in children:
        _, said = child.communicate(timeout=120)
        assert (child.returncode, said) == (0, "")
    store = tracking.client()
    experiment = store.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment.artifact_location == (desk / "mlartifacts").as_uri()
    assert sorted(run.data.metrics["loss"] for run in store.search_runs([experiment.experiment_id])) == [0, 1]


def test_a_run_of_its_own_holds_everything(desk: Path) -> None:
    (desk / "note.txt").write_text("x", encoding="utf-8")
    with tracking.stage_run("annotate", {"a": {"b": 1}, "long": "x" * 9000}, digests={"data/pairs": "d1"}) as run:
        for step in range(3):
            run.metrics({"loss": 1 / (step + 1)}, step=step)
        run.artifact(desk / "note.txt")
        run.tags({"teacher": "recipe"})
    store = tracking.client()
    found = store.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params["a.b"] == "1"
    assert len(found.data.params["long"]) == 6000
    assert {"git_sha": "none", "data.data/pairs": "d1", "teacher": "recipe"}.items() <= found.data.tags.items()
    assert [dataset.dataset.digest for dataset in found.inputs.dataset_inputs] == ["d1"]
    assert [(m.step, m.value) for m in store.get_metric_history(run.run_id, "loss")] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert [file.path for file in store.list_artifacts(run.run_id)] == ["note.txt"]
    assert tracking.last_run("annotate") == run.run_id


def test_a_failed_stage_ends_its_run_and_is_not_remembered(desk: Path) -> None:
    with pytest.raises(ValueError, match="broken"), tracking.stage_run("refine", {}) as run:
        raise ValueError("broken")
    assert tracking.client().get_run(run.run_id).info.status == "FAILED"
    assert tracking.last_run("refine") is None


def test_it_joins_the_run_of_the_flow_and_leaves_it_open(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tracking.client()
    run_id = store.create_run(store.get_experiment_by_name(tracking.EXPERIMENT).experiment_id).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    with tracking.stage_run("evaluate", {"seed": 7}) as run:
        assert run.run_id == run_id
    assert store.get_run(run_id).info.status == "RUNNING"
    assert tracking.last_run("evaluate") == run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(tracking.TrackingError, match="cannot open the run of stage evaluate") as failure:
        tracking.stage_run("evaluate", {}).__enter__()
    assert "\n" not in str(failure.value)


def test_checkpoints_keep_the_newest_and_the_best(desk: Path) -> None:
    folder = desk / "checkpoint"
    (folder / "global_step1").mkdir(parents=True)
    (folder / "global_step1" / "optimizer_states.pt").write_text("resume", encoding="utf-8")
    (folder / "optimizer.pt").write_text("resume", encoding="utf-8")
    (folder / "inner").mkdir()
    (folder / "inner" / "model.safetensors").write_text("weights", encoding="utf-8")
    with tracking.stage_run("train_restorer", {}, keep_checkpoints=2) as run:
        for step in range(1, 6):
            run.checkpoint(folder, step, {"val_psnr": float(step)}, best=step in (1, 2))
    store = tracking.client()
    experiment = store.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    models = {m.tags["step"]: m for m in store.search_logged_models([experiment]) if m.source_run_id == run.run_id}
    assert set(models) == {"2", "4", "5"}
    assert [step for step, model in models.items() if model.tags["best"] == "true"] == ["2"]
    assert [(metric.key, metric.step, metric.value) for metric in models["4"].metrics] == [("val_psnr", 4, 4.0)]
    outputs = {output.model_id: output.step for output in store.get_run(run.run_id).outputs.model_outputs}
    assert outputs[models["5"].model_id] == 5
    files = sorted((desk / "mlartifacts" / "models").rglob("*.*"))
    assert [file.name for file in files if file.is_file()] == ["model.safetensors"] * 3


def test_a_store_that_goes_away_costs_a_warning_and_no_metric(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.exceptions import MlflowException

    with tracking.stage_run("train_reasoner", {}) as run:
        assert isinstance(run, tracking.StageRun)
        whole = run._store.log_batch

        def away(*args: object, **kwargs: object) -> None:
            raise MlflowException("no route to https://me:secret@host/api\nat all")

        run._store.log_batch = away
        run.metrics({"loss": 1.0}, step=1)
        run.flush()
        run._store.log_batch = whole
        run.metrics({"loss": 0.5}, step=2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "train_reasoner: MLflow did not take 1 metric values, going on" in said
    assert "secret" not in said
    assert len(tracking.client().get_metric_history(run.run_id, "loss")) == 2


def test_other_ranks_and_machines_without_mlflow_track_nothing(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    with tracking.stage_run("train_reasoner", {}) as run:
        run.metrics({"loss": 1.0}, step=1)
        run.checkpoint(desk, 1, {})
    assert run.run_id is None
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("RANK")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with tracking.stage_run("train_reasoner", {}) as run:
        run.tags({"a": 1})
    assert run.run_id is None
    assert capsys.readouterr().err == "train_reasoner: mlflow is not installed, nothing is tracked\n"


def test_a_stage_is_tracked_without_importing_mlflow_too_early() -> None:
    script = "import sys\nfrom components import tracking\nassert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=True)


def test_system_metrics_are_logged(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    store = tracking.client()
    with tracking.stage_run("synthesize", {}) as run:
        for _ in range(50):
            time.sleep(0.2)
            found = store.get_run(run.run_id).data.metrics
            if any(name.startswith("system/") for name in found):
                break
    assert "system/cpu_utilization_percentage" in found


def test_an_unreachable_server_is_one_line_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(tracking.TrackingError, match="cannot open the store") as failure:
        tracking.client()
    assert "secret" not in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_missing_registry_is_named_and_not_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(tracking.NoSuchModel, match=r"no model registry at .*mlflow\.db; `rnr run`"):
        tracking.fetch_model()
    assert not list(tmp_path.iterdir())
    for wrong in ("champion", "models:/a", "models:/a@b@c"):
        with pytest.raises(tracking.NoSuchModel, match="not a model reference"):
            tracking.fetch_model(wrong)


def test_telemetry_is_off_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    tracking.telemetry_off()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "0"


def test_digests_of_inputs_come_from_dvc_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert lineage.input_digests("b") == {}
    graph = {"stages": {"a": {"outs": ["data/x"]}, "b": {"deps": ["code.py", "data/x", {"data/y": {}}]}}}
    lock = {"stages": {"a": {"outs": [{"path": "data/x", "md5": "d1.dir"}]}}}
    Path("dvc.yaml").write_text(json.dumps(graph), encoding="utf-8")
    Path("dvc.lock").write_text(json.dumps(lock), encoding="utf-8")
    assert lineage.input_digests("b") == {"data/x": "d1.dir"}
    assert lineage.locked_digest("data/z") is None


def test_parameters_are_flattened() -> None:
    assert flatten({"a": {"b": [1, 2], "c": None}, "d": "x"}) == {"a.b": "[1, 2]", "a.c": "null", "d": "x"}
