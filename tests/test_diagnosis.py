"""The language: validation, edits, stable bytes, and the schema in docs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.diagnosis import TYPES, Diagnosis, Finding, narrate


def foggy() -> Diagnosis:
    finding = Finding(severity=40, confidence=0.9, factors={"transmission": 0.5, "airlight": 0.8})
    return Diagnosis(findings={"haze": finding}, scene="coast", objects=["sea"])


def test_severities_stand_in_the_order_of_types():
    assert foggy().severities() == [40.0, 0, 0, 0, 0, 0, 0]
    assert len(TYPES) == 7


def test_a_person_edits_severities():
    edited = foggy().edited({"haze": 0, "noise": 30})
    assert list(edited.findings) == ["noise"]
    assert edited.findings["noise"].confidence == 1.0
    assert foggy().edited({"haze": 10}).findings["haze"].factors["airlight"] == 0.8


@pytest.mark.parametrize(("edit", "message"), [({"fog": 3}, "fog: unknown degradation"), ({"haze": 101}, "0..100")])
def test_a_bad_edit_is_named(edit, message):
    with pytest.raises(ValueError, match=message):
        foggy().edited(edit)


@pytest.mark.parametrize(
    "finding",
    [{"severity": 0.5}, {"severity": 50, "factors": {"beta": 1.0}}, {"severity": 50, "factors": {"airlight": 3.0}}],
)
def test_what_is_out_of_range_is_refused(finding):
    with pytest.raises(ValidationError):
        Diagnosis.model_validate({"findings": {"haze": finding}})


def test_json_round_trip_is_stable():
    text = foggy().to_json()
    assert Diagnosis.model_validate_json(text).to_json() == text


def test_the_chain_of_thought_names_evidence_and_severity():
    steps = narrate({"dark_channel": 0.42}, {"haze": 61.0}, "coast", ["sea"])
    assert any("0.42" in step and "61" in step for step in steps)
    assert "clean" not in " ".join(steps) and "leave" in narrate({}, {}, "", [])[-1]


def test_the_schema_in_docs_is_current():
    stored = json.loads((Path(__file__).parents[1] / "docs/diagnosis.schema.json").read_text(encoding="utf-8"))
    assert stored == Diagnosis.model_json_schema()
