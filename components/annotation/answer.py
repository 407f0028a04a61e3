"""What an asked teacher is told, what it must answer, and when its answer contradicts the recipe."""

from __future__ import annotations

import json
import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from components.diagnosis import SCENES, TYPES, DegradationType

# a true degradation from this severity on must be named; weaker ones are hard to see and may be left out
MUST_BE_SEEN = 15.0
ANSWER_SHOWN = 2000  # characters of its last answer that the teacher sees again
PROBLEM_CHARACTERS = 300

Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=600)]
Word = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1, max_length=40)]

SYSTEM = f"""You are an expert for the quality of photographs. You diagnose what degraded one photo. Possible \
degradations, alone or up to three together, or none:
haze (scattered light, lifted blacks), rain (bright parallel streaks), snow (bright flakes), low_light \
(underexposure), blur (defocus or motion), noise (sensor grain), jpeg (8-pixel blocks and ringing).
Severity goes from 1 (just visible) over 50 (plain damage) to 100 (as bad as it gets).
Answer with one JSON object and nothing else:
{{"scene": one of {json.dumps(SCENES)},
"objects": up to 8 single nouns that you see,
"reasoning": 3 to 10 steps, each one sentence: what is in the scene; what evidence you see and where in the picture; \
which degradations it shows; how severe; why,
"findings": a list of {{"type": one of {json.dumps(TYPES)}, "severity": a number from 1 to 100}}, empty for a clean \
photo}}"""
QUESTION = "Diagnose this photo. Measured in it, each from 0 to 1: {evidence}."
AGAIN = "Your answer cannot be right: {problem}. Look again and answer with the whole JSON object."

# Bounds (how many steps, how long, 1 to 100) are left to pydantic: strict schemas of some endpoints refuse them.
SCHEMA = {
    "type": "object",
    "properties": {
        "scene": {"type": "string", "enum": list(SCENES)},
        "objects": {"type": "array", "items": {"type": "string"}},
        "reasoning": {"type": "array", "items": {"type": "string"}},
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "enum": list(TYPES)},
                    "severity": {"type": "number"},
                },
                "required": ["type", "severity"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["scene", "objects", "reasoning", "findings"],
    "additionalProperties": False,
}
RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "diagnosis", "strict": True, "schema": SCHEMA},
}


class Unusable(ValueError):
    """A reply that is no answer; the message says why, without repeating the reply."""


class Named(BaseModel):
    """One degradation that the teacher names."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    type: DegradationType
    severity: Annotated[float, Field(ge=1, le=100)]


class TeacherAnswer(BaseModel):
    """A whole answer; what else a model adds is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    scene: Word
    objects: Annotated[list[Word], Field(max_length=20)]
    reasoning: Annotated[list[Sentence], Field(min_length=3, max_length=20)]
    findings: Annotated[list[Named], Field(max_length=len(TYPES))]

    @field_validator("scene")
    @classmethod
    def _scene_is_known(cls, scene: str) -> str:
        if scene not in SCENES:
            raise ValueError(f"it is none of {', '.join(SCENES)}")
        return scene

    @field_validator("objects")
    @classmethod
    def _each_once(cls, words: list[str]) -> list[str]:
        return list(dict.fromkeys(words))

    @field_validator("findings")
    @classmethod
    def _each_type_once(cls, findings: list[Named]) -> list[Named]:
        if len({finding.type for finding in findings}) < len(findings):
            raise ValueError("a type is named twice")
        return findings


def first_messages(picture_url: str, evidence: dict[str, float]) -> list[dict]:
    """The question in the chat format of OpenAI; `picture_url` is a data URL."""
    measured = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in evidence.items())
    return [
        {"role": "system", "content": SYSTEM},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": QUESTION.format(evidence=measured)},
                {"type": "image_url", "image_url": {"url": picture_url}},
            ],
        },
    ]


def again_messages(first: list[dict], reply: str, problem: str) -> list[dict]:
    """The question once more, with the last reply and what contradicts it."""
    # some chat templates refuse an empty turn
    said = {"role": "assistant", "content": reply[:ANSWER_SHOWN] or "(nothing)"}
    return [*first, said, {"role": "user", "content": AGAIN.format(problem=problem)}]


def parse(reply: str) -> TeacherAnswer:
    """The answer in a reply, which may think aloud first or stand in a code fence. Raises Unusable."""
    text = re.sub(r"<think>.*?</think>", "", reply, flags=re.DOTALL)
    start, end = text.find("{"), text.rfind("}")
    if start < 0:
        raise Unusable("it holds no JSON object")
    try:
        value = json.loads(text[start : end + 1] if end > start else text[start:])
    except (ValueError, RecursionError):
        raise Unusable("it is not valid JSON, or only half of it") from None
    try:
        return TeacherAnswer.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Unusable(f"{place}: {first['msg']}"[:PROBLEM_CHARACTERS]) from None


def contradictions(answer: TeacherAnswer, severities: list[float], max_error: float) -> list[str]:
    """Where an answer contradicts the true severities (7, order of TYPES, 0 = absent); empty if nowhere."""
    named = {finding.type: finding.severity for finding in answer.findings}
    found = []
    for kind, true in zip(TYPES, severities, strict=True):
        if kind in named and true < 1:
            found.append(f"it names {kind}, which is not there")
        elif kind in named and abs(named[kind] - true) > max_error:
            found.append(f"it gives {kind} severity {named[kind]:.0f}, it is {true:.0f}")
        elif kind not in named and true >= MUST_BE_SEEN:
            found.append(f"it misses {kind} of severity {true:.0f}")
    return found


def problem_of(reply: str, severities: list[float], max_error: float) -> tuple[TeacherAnswer | None, str]:
    """(the answer, "") of a reply that can be taken; (None, what is wrong with it) of any other."""
    try:
        answer = parse(reply)
    except Unusable as error:
        return None, str(error)
    wrong = contradictions(answer, severities, max_error)
    return (None, "; ".join(wrong)) if wrong else (answer, "")
