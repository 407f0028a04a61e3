"""The `openai` teacher through the real command, against a real HTTP server that behaves and misbehaves."""

from __future__ import annotations

import collections
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pandas as pd
import pytest

from components.annotation import endpoint
from components.annotation.config import AnnotateParams
from components.diagnosis import Diagnosis
from components.params import ParamsError
from components.storage import parquet
from tests.annotation.conftest import KEY, MODULE
from tests.annotation.stand_in import StandIn, pair_ids
from tests.tiny import environment, tiny_params


def told(folder) -> pd.DataFrame:
    return pd.concat([parquet.read_split(folder / "data/annotations", s) for s in ("train", "val", "test")])


def tracked(folder) -> dict[str, float]:
    """The last metrics of the annotate run."""
    with sqlite3.connect(folder / "mlflow.db") as store:
        return dict(store.execute("select key, value from latest_metrics").fetchall())


def test_every_trouble_is_settled_and_nothing_is_lost(desk, truth):
    ids = pair_ids(desk.workspace)
    trouble = {
        ids[0]: ["prose", "right"],
        ids[1]: ["half", "right"],
        ids[2]: ["busy", "right"],
        ids[3]: ["500", "right"],
        ids[4]: ["silent", "right"],
        ids[5]: ["wrong", "wrong", "wrong"],
        ids[6]: ["wrong", "right"],
        ids[7]: ["hang_up", "right"],
        ids[8]: ["prose", "half", "prose"],
        ids[9]: ["503", "503", "503"],
        ids[10]: ["422"],
        ids[11]: ["html"],
    }
    plan = lambda pair, number: dict(enumerate(trouble.get(pair, []))).get(number, "right")  # noqa: E731
    with StandIn(truth, plan) as server:
        desk.ask(server.url, concurrency=5)
        done = desk.run(OPENAI_LOG="debug")
        assert done.returncode == 0, done.stderr[-3000:]
        assert server.most_in_flight <= 5 and server.most_in_flight >= 3
        assert server.keys == {f"Bearer {KEY}"}
        expected = {pair: len(steps) for pair, steps in trouble.items()}
        assert server.asked == collections.Counter({pair: expected.get(pair, 1) for pair in ids})
        # Retry-After is honoured, the contradiction is named with the last answer before it
        assert server.times[ids[2]][1] - server.times[ids[2]][0] >= 1
        system, question, answer, again = server.messages[ids[5]][1]
        assert (system["role"], question["role"], answer["role"]) == ("system", "user", "assistant")
        assert "which is not there" in again["content"]
        # a second run finds every answer in the journal, and asks again only where none came
        first = desk.shards()
        before = server.asked.copy()
        trouble.clear()
        assert desk.run().returncode == 0
        assert server.asked - before == collections.Counter({ids[9]: 1, ids[10]: 1, ids[11]: 1})
        settled = desk.shards()
        assert desk.run().returncode == 0 and desk.shards() == settled != first

    rows = pd.concat([pd.read_parquet(io.BytesIO(content)) for content in first.values()])
    recipe = told(desk.workspace).set_index("pair_id")
    rows = rows.set_index("pair_id")
    assert sorted(rows.index) == sorted(recipe.index)
    aside = rows[rows["set_aside"] != ""]
    assert set(aside.index) == {ids[5], ids[8], ids[9], ids[10], ids[11]}
    assert "which is not there" in aside.loc[ids[5], "set_aside"]
    assert aside.loc[ids[8], "set_aside"] == "it holds no JSON object"
    assert aside.loc[ids[9], "set_aside"].startswith("no answer: HTTP 503")
    assert "no chat completion" in aside.loc[ids[11], "set_aside"]
    assert (aside["diagnosis"] == recipe.loc[aside.index, "diagnosis"]).all() and set(aside["teacher"]) == {"recipe"}
    taken = rows[rows["set_aside"] == ""]
    assert set(taken["teacher"]) == {"openai"}
    for pair_id, text in taken["diagnosis"].items():
        said, true = (
            Diagnosis.model_validate_json(text),
            Diagnosis.model_validate_json(recipe.loc[pair_id, "diagnosis"]),
        )
        assert said.findings == true.findings and said.evidence == true.evidence
        assert said.scene == "coast" and said.objects == ["lighthouse", "sea"] and "lighthouse" in said.reasoning[0]

    # aligned shard by shard, for the readers of both
    for split in ("train", "val", "test"):
        pairs = parquet.read_split(desk.workspace / "data/pairs", split, ["pair_id"])["pair_id"].tolist()
        assert parquet.read_split(desk.folder / "data/annotations", split)["pair_id"].tolist() == pairs
    assert json.loads((desk.folder / "metrics/annotate.json").read_text())["set_aside"] == 2
    assert "median s" in done.stderr and f"{len(ids)}/{len(ids)}" in done.stderr
    # the endpoint said the key in errors and in an answer
    assert KEY not in done.stdout + done.stderr and not desk.files_with(KEY.encode())
    assert "***" in (desk.journal() or desk.folder).read_text() and "***" in aside.loc[ids[10], "set_aside"]


def test_killed_it_goes_on_without_asking_twice(desk, truth):
    with StandIn(truth, lambda pair, number: "right") as server:
        server.thinking_s = 0.2
        desk.ask(server.url, concurrency=3)
        process = desk.start()
        deadline = time.monotonic() + 120
        while len(desk.journaled()) < 10:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.communicate()
        kept = len(desk.journaled())
        with open(desk.journal(), "ab") as journal:
            journal.write(b'{"pair": "torn')
        time.sleep(0.5)
        known = dict(server.asked)
        assert not (desk.folder / "data/annotations").exists()
        done = desk.run()
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"{kept} replies of an earlier run" in done.stdout
        twice = [pair for pair, count in server.asked.items() if count > 1]
        # only what was in flight when it died has to be asked again: its answer never arrived
        assert len(twice) <= 3 and len(known) - kept == len(twice)
        assert set(server.asked) == set(pair_ids(desk.workspace)) and max(server.asked.values()) <= 2
        ids = [json.loads(line)["pair"] for line in desk.journaled()]
        assert len(ids) == len(set(ids)) == len(server.asked)
        assert set(told(desk.folder)["teacher"]) == {"openai"}
        assert tracked(desk.folder)["teacher_requests"] == len(server.asked) - kept


def test_an_endpoint_without_schemas_is_asked_for_plain_json(desk, truth):
    with StandIn(truth, lambda pair, number: "right") as server:
        server.without_schema = True
        desk.ask(server.url, concurrency=1)
        done = desk.run()
        assert done.returncode == 0, done.stderr[-3000:]
        assert "refuses response_format; asking without it" in done.stdout
        assert "response_format" in server.fields[0] and not any("response_format" in f for f in server.fields[1:])
        assert set(server.asked.values()) == {1} and set(told(desk.folder)["teacher"]) == {"openai"}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("401", r"HTTP 401; the key in RNR_TEACHER_API_KEY is refused"),
        ("403", r"HTTP 403; the key in RNR_TEACHER_API_KEY is refused"),
        ("404", r"HTTP 404; check annotate.endpoint .* and annotate.model \(stand-in\)"),
        ("400", r"HTTP 400: sorry, Bearer \*\*\* and again \*\*\*; check annotate.endpoint and annotate.model"),
        ("html", r"what came back is no chat completion; check"),
        ("silent", r"no answer within 1 s; is the server up"),
        ("nobody", r"the connection failed \(ConnectError\); is the server up"),
    ],
)
def test_an_endpoint_that_cannot_be_used_ends_with_one_line(desk, truth, what, message):
    ids = pair_ids(desk.workspace)
    # three answers come first where somebody answers at all
    answered = set(ids[:3]) if what.isdigit() else set()
    with StandIn(truth, lambda pair, number: "right" if pair in answered else what) as server:
        url = server.url
        desk.ask(url, concurrency=3, max_retries=1)
        if what == "nobody":
            server.shutdown()
            server.server_close()
        done = desk.run()
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert re.search(message, last), last
    assert last.startswith(f"annotate: {url}: ") and "run again to go on" in last
    assert "Traceback" not in done.stderr
    assert not (desk.folder / "data/annotations").exists() and not list((desk.folder / "data").glob("*.part"))
    assert len(desk.journaled()) == len(answered)
    assert KEY not in done.stdout + done.stderr and not desk.files_with(KEY.encode())


def config(**changes: object) -> AnnotateParams:
    return AnnotateParams(**{**tiny_params()["annotate"], "teacher": "openai", "model": "m", **changes})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"endpoint": "localhost:8000"}, "annotate.endpoint: write the base URL"),
        ({"endpoint": f"http://me:{KEY}@host/v1"}, "no credentials and no query"),
        ({"endpoint": f"https://host/v1?key={KEY}"}, "no credentials and no query"),
        ({"model": ""}, "annotate.model: name the model"),
    ],
)
def test_a_wrong_address_is_named_without_its_secret(change, message):
    with pytest.raises(ParamsError, match=message) as caught:
        endpoint.check(config(**change))
    assert KEY not in str(caught.value)


def test_the_key_is_read_and_erased(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "other-key-1234")
    monkeypatch.delenv("RNR_TEACHER_API_KEY", raising=False)
    assert endpoint.Key().variable == "OPENAI_API_KEY"
    monkeypatch.setenv("RNR_TEACHER_API_KEY", KEY + "\n")
    key = endpoint.Key()
    assert (key.variable, key.reveal()) == ("RNR_TEACHER_API_KEY", KEY)
    said = f"{KEY} {KEY.replace('+', '%2B').replace('/', '%2F')} {key!r} {key}"
    assert key.scrub(said) == "*** *** Key(***) Key(***)"
    monkeypatch.setenv("RNR_TEACHER_API_KEY", "a key\u2603")
    with pytest.raises(endpoint.EndpointError, match="no HTTP header can carry") as caught:
        endpoint.Key()
    assert "\u2603" not in str(caught.value)


def test_the_recipe_teacher_needs_no_client():
    code = f"import sys, {MODULE}; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False).returncode == 0
