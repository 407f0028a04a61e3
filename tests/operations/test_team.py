"""A team's servers and two clones: by hand, by event, by the clock, from the remote without computing, and after
a worker's death; and a search for the secrets of all of them.

    pytest -m slow tests/operations/test_team.py

The tests follow one another on the same servers.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from tests.operations import services
from tests.operations.services import BUCKET, SECRETS, Team, eventually
from tests.test_pipeline import STAGES, clone

pytestmark = pytest.mark.slow
SOURCE = f"s3://{BUCKET}/photos"
RUN_S = 1800.0
# Python runs it at its start: PYTHONPATH is the clone
CARELESS = f"""
import os, sys
if any(word.startswith("components.") for word in sys.orig_argv):
    for name in {sorted((*services.CANARIES, "AWS_SECRET_ACCESS_KEY", "PREFECT_API_AUTH_STRING"))!r}:
        print("careless:", name + "=" + os.environ.get(name, "not there"), flush=True)
"""


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with services.team(tmp_path_factory.mktemp("team")) as running:
        yield running


@pytest.fixture(scope="module")
def first(team: Team, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with tiny parameters and the team's bucket as a second source of photos."""
    folder = clone(tmp_path_factory.mktemp("clones") / "first")
    photos = sorted((folder / "data/photos").glob("*.jpg"))
    upload(team, {f"photos/{path.name}": path for path in photos[:1]})
    edit_yaml(folder / "params.yaml", lambda content: content["ingest"]["sources"].append(SOURCE))
    # the night comes also while tests run
    schedule(folder, "0 3 1 1 *")
    # every stage prints its secrets when it starts
    (folder / "sitecustomize.py").write_text(CARELESS, encoding="utf-8")
    commit(folder, "the team's photos")
    return folder


@pytest.fixture(scope="module")
def worker(team: Team, first: Path) -> Iterator[subprocess.Popen]:
    rnr(team, first, "deploy")
    with team.worker(first) as process:
        yield process


def upload(team: Team, objects: dict[str, Path]) -> None:
    store = services.s3_client(team.environment)
    for key, path in objects.items():
        store.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())


def edit_yaml(path: Path, change) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def schedule(folder: Path, cron: str) -> None:
    edit_yaml(folder / "prefect.yaml", lambda content: content["deployments"][0]["schedules"][0].update(cron=cron))


def commit(folder: Path, subject: str) -> None:
    author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for words in (["add", "-A"], ["commit", "-q", "-m", subject]):
        subprocess.run(["git", *author, *words], cwd=folder, check=True)


def rnr(team: Team, folder: Path, *words: str, expect: int = 0) -> dict:
    done = team.run(folder, sys.executable, "-m", "rnr.cli", *words, "--json", expect=expect)
    return json.loads(done.stdout.splitlines()[-1])


def api(team: Team, path: str, **body: object):
    user, _, word = team.environment["PREFECT_API_AUTH_STRING"].partition(":")
    url = f"{team.environment['PREFECT_API_URL']}/{path}"
    return httpx.post(url, json=body, auth=(user, word), timeout=60).raise_for_status().json()


def flow_runs(team: Team) -> list[dict]:
    """Newest first."""
    return api(team, "flow_runs/filter", sort="START_TIME_DESC", flows={"name": {"any_": ["retrain"]}})


def wait_for_end(team: Team, known: set[str], created_by: str | None) -> dict:
    """The first run that is not `known`, was made by `created_by` (None: by hand) and has come to its end."""

    def ended() -> list[dict]:
        return [
            run
            for run in flow_runs(team)
            if run["id"] not in known
            and (run["created_by"] or {}).get("type") == created_by
            and run["state_type"] in ("COMPLETED", "FAILED", "CRASHED")
        ]

    eventually(f"a run by {created_by}", lambda: bool(ended()), RUN_S, 2)
    return ended()[-1]


def ids(team: Team) -> set[str]:
    return {run["id"] for run in flow_runs(team)}


def log_of(team: Team) -> str:
    return (team.place / "worker.log").read_text(encoding="utf-8")[-6000:]


def champion(team: Team, folder: Path) -> str:
    rows = json.loads(team.run(folder, sys.executable, "-m", "rnr.cli", "models", "--json").stdout)
    return next(str(row["version"]) for row in rows if "champion" in row["aliases"])


def test_a_run_by_hand_fills_all_stores(team: Team, first: Path, worker: subprocess.Popen) -> None:
    known = ids(team)
    team.run(first, sys.executable, "-m", "prefect", "deployment", "run", "retrain/scheduled")
    run = wait_for_end(team, known, None)
    assert run["state_type"] == "COMPLETED", f"{run['state']}\n{log_of(team)}"
    assert champion(team, first) == "1"
    store = services.s3_client(team.environment)
    for prefix in ("mlflow/", "dvc/files/md5/", "dvc/runs/"):
        assert store.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["KeyCount"] > 0
    # everything lies on the servers: no local database
    assert not (first / "mlflow.db").exists()
    commit(first, "the first run")


def test_new_photos_lead_to_a_warm_retraining(team: Team, first: Path, worker: subprocess.Popen) -> None:
    assert rnr(team, first, "watch", SOURCE, "--once", "--settle", "0.1")["outcome"] == "unchanged"
    picture = next((first / "data/photos").glob("*.jpg"))
    upload(team, {f"photos/new-{uuid.uuid4().hex[:6]}.jpg": turned(picture, first)})
    known = ids(team)
    assert rnr(team, first, "watch", SOURCE, "--once", "--settle", "0.1")["outcome"] == "told"
    run = wait_for_end(team, known, "AUTOMATION")
    assert run["state_type"] == "COMPLETED", f"{run['state']}\n{log_of(team)}"
    assert rnr(team, first, "watch", SOURCE, "--once", "--settle", "0.1")["outcome"] == "unchanged"
    bases = yaml.safe_load((first / "params.yaml").read_text(encoding="utf-8"))
    base = Path(bases["restorer"]["base"])
    assert base.parent.parent == Path("models/warm")
    assert bases["reasoner"]["base"] == f"{base.parent}/reasoner"
    noted = yaml.safe_load((first / f"{base.parent}.dvc").read_text(encoding="utf-8"))
    assert noted["meta"]["version"] == "1"
    assert champion(team, first) == "2"
    commit(first, "the second run")


def turned(picture: Path, place: Path) -> Path:
    """Another photo: the same, mirrored."""
    from PIL import Image, ImageOps

    target = place / "work" / "turned.jpg"
    target.parent.mkdir(exist_ok=True)
    with Image.open(picture) as image:
        ImageOps.mirror(image).rotate(90, expand=True).save(target, quality=98)
    return target


def test_the_clock_starts_a_run_that_finds_nothing_to_do(team: Team, first: Path, worker: subprocess.Popen) -> None:
    schedule(first, "* * * * *")
    known = ids(team)
    rnr(team, first, "deploy")
    run = wait_for_end(team, known, "SCHEDULE")
    schedule(first, "0 3 1 1 *")
    rnr(team, first, "deploy")
    assert run["state_type"] == "COMPLETED", f"{run['state']}\n{log_of(team)}"
    assert champion(team, first) == "2"


def test_a_fresh_clone_pulls_and_computes_nothing(team: Team, first: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    subprocess.run(["git", "clone", "-q", str(first), str(second)], check=True)
    assert not (second / "models/reasoner").exists()
    team.run(second, sys.executable, "-m", "flows.remote")
    team.run(second, sys.executable, "-m", "dvc", "pull", "-q")
    said = team.run(second, sys.executable, "-m", "dvc", "repro").stdout
    assert "Running stage" not in said
    assert "up to date" in said
    # and another one, by the flow alone
    third = tmp_path / "third"
    subprocess.run(["git", "clone", "-q", str(first), str(third)], check=True)
    summary = rnr(team, third, "run")
    assert {stage["name"]: stage["outcome"] for stage in summary["stages"]} == dict.fromkeys(STAGES, "skipped")
    assert (summary["version"], summary["created"]) == ("2", False)


def test_no_secret_is_left_behind(team: Team, first: Path, worker: subprocess.Popen) -> None:
    told, runs = b"careless: AWS_SECRET_ACCESS_KEY=***", set()
    for place, content in services.remains(team, first):
        for word in SECRETS:
            assert word.encode() not in content and word.encode("utf-16-le") not in content, f"{word} in {place}"
        if told in content:
            runs.add(place.removeprefix(str(team.place)))
    # the test can fail: what was to be hidden did come to all who keep the lines of a stage, hidden
    assert runs >= {"/worker.log", "database prefect"}
    # and every kind of place was searched
    kinds = {"s3" if place.startswith("s3://") else place for place, _ in services.remains(team)}
    assert kinds >= {"s3", "database mlflow", "database prefect"}


def test_a_run_whose_machine_died_frees_the_slot(team: Team, first: Path, worker: subprocess.Popen) -> None:
    """Last: the worker does not live through it."""
    known = ids(team)
    team.run(first, sys.executable, "-m", "prefect", "deployment", "run", "retrain/scheduled")
    eventually("a run at work", lambda: bool(alive(team, known)), RUN_S, 0.1)
    dying = alive(team, known)[0]
    for process in (psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    state = next(found for found in flow_runs(team) if found["id"] == dying)["state_type"]
    assert state == "RUNNING", f"{state}: it ended before it was killed"
    assert wait_for_end(team, known, None)["state_type"] == "CRASHED"
    # and the next one is carried out
    known = ids(team)
    with team.worker(first):
        team.run(first, sys.executable, "-m", "prefect", "deployment", "run", "retrain/scheduled")
        run = wait_for_end(team, known, None)
    assert run["state_type"] == "COMPLETED", f"{run['state']}\n{log_of(team)}"


def alive(team: Team, known: set[str]) -> list[str]:
    """Runs that are not `known`, are at work and have given a sign of life."""
    running = {run["id"] for run in flow_runs(team) if run["id"] not in known and run["state_type"] == "RUNNING"}
    filters = {"event": {"name": ["prefect.flow-run.heartbeat"]}}
    heard = api(team, "events/filter", filter=filters, limit=50)["events"]
    return sorted(running & {event["resource"]["prefect.resource.id"].rpartition(".")[2] for event in heard})
