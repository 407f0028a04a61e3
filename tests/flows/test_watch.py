"""`rnr watch` and `rnr deploy` against a real Prefect server."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Running

from flows import photo_set, server, watch
from rnr import cli
from tests.flows.test_photo_set import age
from tests.tiny import REPOSITORY, tiny_params

QUICK = ["--once", "--settle", "0"]


@pytest.fixture(scope="module")
def deployed() -> None:
    """What `rnr deploy` puts on the server, from this repository's prefect.yaml; twice is as good as once."""
    before = os.getcwd()
    os.chdir(REPOSITORY)
    try:
        assert cli.main(["deploy"]) == 0
    finally:
        os.chdir(before)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with one source, `mine`, of two photos."""
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (Path("mine") / name).write_text(name)
    age("mine")
    sections = tiny_params()
    sections["ingest"]["sources"] = ["mine"]
    Path("params.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")
    return tmp_path


@pytest.fixture
def look(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict]:
    """Run `rnr watch --once --json`; the one line it prints."""

    def run(*words: str, expect: int = 0) -> dict:
        capsys.readouterr()
        assert cli.main(["watch", *QUICK, "--json", *words]) == expect
        (line,) = capsys.readouterr().out.splitlines()
        return json.loads(line)

    return run


def scheduled() -> list[Any]:
    """Runs that triggers made."""
    with get_client(sync_client=True) as client:
        return [run for run in client.read_flow_runs() if run.created_by and run.created_by.type == "AUTOMATION"]


def test_prefect_yaml_stands_on_the_server_as_it_says(deployed: None) -> None:
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(server.DEPLOYMENT)
        assert [getattr(entry.schedule, "cron", None) for entry in found.schedules] == ["0 3 * * *"]
        assert found.global_concurrency_limit is not None and found.global_concurrency_limit.limit == 1
        assert found.concurrency_options is not None
        assert found.concurrency_options.collision_strategy.value == "CANCEL_NEW"
        assert found.parameters == {"warm_start": True}
        assert found.entrypoint == "flows.retrain.retrain"
        # each worker has a clone of its own: no folder of this machine is written down
        (step,) = found.pull_steps or []
        assert step["prefect.deployments.steps.set_working_directory"]["directory"] == "{{ $RNR_HOME }}"
        assert found.job_variables["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
        assert client.read_work_pool(server.POOL).type == "process"
        names = {automation.name for automation in server.dead_run_automations()}
        for name in names:
            (automation,) = client.read_automations_by_name(name)
            assert automation.enabled
            assert automation.actions[0].type == "change-flow-run-state"


def test_new_photos_start_a_run_once_they_are_settled(deployed: None, place: Path, look: Callable[..., dict]) -> None:
    known = {run.id for run in scheduled()}
    first = look()
    assert (first["source"], first["outcome"], first["photos"]) == ("mine", "told", 2)
    for _ in range(100):
        if new := [run for run in scheduled() if run.id not in known]:
            break
        time.sleep(0.2)
    assert len(new) == 1
    # also for a process that knows nothing but its files
    assert look()["outcome"] == "unchanged"
    Path("mine/c.jpg").write_text("c")
    assert look()["outcome"] == "told"
    assert look()["outcome"] == "unchanged"
    # a state file that is torn costs one event more
    watch.state_file("mine").write_text("{")
    assert look()["outcome"] == "told"


def test_a_source_never_told_is_compared_with_what_the_pipeline_ran_with(
    deployed: None, place: Path, look: Callable[..., dict]
) -> None:
    photo_set.refresh()
    assert look()["outcome"] == "unchanged"
    assert not watch.STATE.exists()


def test_photos_that_are_still_coming_are_waited_for(
    deployed: None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(seconds: float) -> None:
        coming = len(list(Path("mine").iterdir()))
        if coming < until:
            Path(f"mine/{coming}.jpg").write_text("more")

    until = 6
    seen = watch.look("mine", 1.0, another)
    assert (seen.outcome, seen.photos) == ("told", 6)
    until = 1000
    assert watch.look("mine", 1.0, another).outcome == "unchanged"
    Path("mine/begin.jpg").write_text("x")
    assert watch.look("mine", 1.0, another).outcome == "settling"
    # nothing was told: at the next calm look it is
    assert watch.look("mine", 0.0, lambda _: None).outcome == "told"


def test_while_a_run_is_under_way_nothing_is_told(deployed: None, place: Path, look: Callable[..., dict]) -> None:
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(server.DEPLOYMENT)
        run = client.create_flow_run_from_deployment(deployment.id)
        client.set_flow_run_state(run.id, Running(), force=True)
        try:
            assert look()["outcome"] == "busy"
            assert not watch.state_file("mine").exists()
        finally:
            client.set_flow_run_state(run.id, Completed(), force=True)
    assert look()["outcome"] == "told"


def test_failures_are_one_line_each_and_unchanged_photos_need_no_server(
    deployed: None, place: Path, look: Callable[..., dict], capsys: pytest.CaptureFixture[str]
) -> None:
    assert look()["outcome"] == "told"
    with temporary_settings({PREFECT_API_URL: "http://user:secret-word@127.0.0.1:9/api"}):
        assert look()["outcome"] == "unchanged"
        Path("mine/d.jpg").write_text("d")
        said = look(expect=1)["error"]
        assert "127.0.0.1:9/api does not answer" in said and "PREFECT_API_URL" in said
        assert "secret-word" not in said
    with temporary_settings({PREFECT_API_URL: None}):
        assert "PREFECT_API_URL is not set" in look(expect=1)["error"]
        assert cli.main(["deploy"]) == 1
        assert cli.main(["worker"]) == 1
    assert "no dvc.yaml" in capsys.readouterr().err
    # what was not told is told later
    assert look()["outcome"] == "told"
    shutil.rmtree("mine")
    assert "mine: no folder mine" in look(expect=1)["error"]


def test_wrong_use(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["watch", "elsewhere", *QUICK]) == 2
    assert "elsewhere: no folder elsewhere" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["watch", "--interval", "soon"])
