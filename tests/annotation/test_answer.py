"""What counts as an answer, what contradicts a recipe, and a journal that survives."""

from __future__ import annotations

import json

import pytest

from components.annotation import answer
from components.annotation.journal import Journal, JournalError, Reply
from components.annotation.table import Table
from components.diagnosis import TYPES
from tests.annotation.stand_in import right

HAZE_AND_NOISE = [60.0, 0, 0, 0, 0, 14.0, 0]
GOOD = right(HAZE_AND_NOISE)


@pytest.mark.parametrize("wrap", ["{}", "```json\n{}\n```", "<think>is it {{...</think> {}", "Sure! {} Anything else?"])
def test_an_answer_is_found_in_what_models_write(wrap):
    parsed = answer.parse(wrap.replace("{{", "{").replace("{}", json.dumps(GOOD)))
    assert parsed.scene == "coast" and [f.type for f in parsed.findings] == ["haze", "noise"]


def test_words_are_tidied():
    parsed = answer.parse(json.dumps({**GOOD, "scene": "Coast ", "objects": ["Sea", "sea", " Boat"], "mood": "calm"}))
    assert parsed.scene == "coast" and parsed.objects == ["sea", "boat"]


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("", "no JSON object"),
        ("fog!", "no JSON object"),
        (json.dumps(GOOD)[:80], "not valid JSON, or only half"),
        ("{" * 100_000 + "}", "not valid JSON"),
        (json.dumps([GOOD]).replace("coast", "moon"), "scene: .*none of street"),
        (json.dumps({**GOOD, "reasoning": ["short"]}), "reasoning: "),
        (json.dumps({**GOOD, "findings": {"haze": 3}}), "findings: "),
        (json.dumps({**GOOD, "findings": [{"type": "fog", "severity": 3}]}), r"findings\.0\.type"),
        (json.dumps({**GOOD, "findings": [{"type": "haze", "severity": 0}]}), r"findings\.0\.severity"),
        (json.dumps({**GOOD, "findings": GOOD["findings"][:1] * 2}), "named twice"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "objects"}), "objects: Field required"),
    ],
)
def test_what_is_no_answer_is_said_why(reply, problem):
    with pytest.raises(answer.Unusable, match=problem) as caught:
        answer.parse(reply)
    assert len(str(caught.value)) <= answer.PROBLEM_CHARACTERS


@pytest.mark.parametrize(
    ("named", "wrong"),
    [
        ({"haze": 60, "noise": 14}, []),
        ({"haze": 89}, []),  # noise 14 may be overlooked, 29 off is near enough
        ({"haze": 91}, ["it gives haze severity 91, it is 60"]),
        ({"noise": 20}, ["it misses haze of severity 60"]),
        ({"haze": 60, "rain": 5}, ["it names rain, which is not there"]),
        ({"rain": 5}, ["it misses haze of severity 60", "it names rain, which is not there"]),
    ],
)
def test_contradictions_are_named(named, wrong):
    findings = [{"type": kind, "severity": value} for kind, value in named.items()]
    parsed = answer.parse(json.dumps({**GOOD, "findings": findings}))
    assert answer.contradictions(parsed, HAZE_AND_NOISE, 30.0) == wrong


def test_the_schema_and_the_model_ask_for_the_same():
    assert set(answer.SCHEMA["required"]) == set(answer.TeacherAnswer.model_fields) == set(answer.SCHEMA["properties"])
    item = answer.SCHEMA["properties"]["findings"]["items"]
    assert set(item["required"]) == set(answer.Named.model_fields) == set(item["properties"])
    assert item["properties"]["type"]["enum"] == list(TYPES)


def test_the_journal_forgets_a_torn_line_and_nothing_else(tmp_path):
    replies = [Reply("first \u2603\n", 3, 4, 0.5), Reply("second", 1, 1, 0.25)]
    with Journal(tmp_path) as journal:
        for reply in replies:
            journal.add("a", reply)
        journal.add("b", replies[1])
    whole = journal.path.read_bytes()
    for torn in (b"{", whole[: len(whole) // 3].split(b"\n")[0], b'{"pair": "c", "reply"'):
        journal.path.write_bytes(whole + torn)
        with Journal(tmp_path) as again:
            assert again.replies("a") == replies and again.replies("c") == [] and len(again) == 3
            again.add("c", replies[0])
        with Journal(tmp_path) as last:
            assert last.replies("c") == [replies[0]] and len(last) == 4
    journal.path.write_bytes(b"rubbish\n" + whole)
    with pytest.raises(JournalError, match=r"answers\.jsonl: line 1 is damaged"), Journal(tmp_path):
        pass


def test_the_table_counts(capsys):
    table = Table(3)
    assert table.latency() == (0.0, 0.0)
    for seconds in (1.0, 2.0, 9.0):
        table.answered(10, 2, seconds)
    table.done, table.requests, table.questions = 3, 5, 3
    table.print_row()
    table.print_row()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and lines[0].split()[1] == "pairs" and "3/3" in lines[1] and "2.00" in lines[1]
    assert table.metrics()["teacher_retries"] == 2 and table.latency()[1] == pytest.approx(8.3)
