"""Rules of the second look, on a table small enough to be judged by hand."""

from __future__ import annotations

import pandas as pd

from benchmarks import second_look
from components.diagnosis import TYPES


def picture(case: str, findings: int, sure: float, gains: tuple[float, float, float], worst: tuple) -> dict:
    """A row: gains in dB at each strength, and the worst severity before and at each of them."""
    row = {"case": case, "findings": findings, "sure": sure, "before": 20.0}
    for strength, gain in zip(second_look.STRENGTHS, gains, strict=True):
        row[f"{strength}"] = 20.0 + gain
    for prefix, severity in zip(("before", *second_look.STRENGTHS), worst, strict=True):
        row |= {f"{prefix} {kind}": severity * (kind == "haze") for kind in TYPES}
    return row


TABLE = pd.DataFrame(
    [
        picture("haze", 1, 0.95, (6.0, 3.0, 1.0), (50, 10, 20, 30)),
        picture("rain", 2, 0.60, (-4.0, -1.0, 0.5), (20, 70, 60, 21)),
        picture("rain", 1, 0.60, (2.0, 1.0, 0.5), (20, 5, 5, 5)),
        picture("clean", 0, 0.0, (0.0, 0.0, 0.0), (0, 0, 0, 0)),
        picture("clean", 1, 0.99, (-9.0, -5.0, -2.0), (30, 5, 5, 5)),
    ]
)


def test_a_rule_takes_the_strongest_result_that_does_no_harm():
    found = second_look.judged(TABLE, 0.9, second_look.RULES[second_look.CHOSEN])
    assert found["used"].tolist() == [1.0, 0.25, 0.0, 0.0, 1.0]
    assert found["gain"].tolist() == [6.0, 0.5, 0.0, 0.0, -9.0]


def test_a_line_says_what_was_held_back_and_what_it_cost():
    told = second_look.line(second_look.judged(TABLE, 0.9, second_look.RULES[second_look.CHOSEN]))
    assert (told["held"], told["rightly"], told["wrongly"]) == (1, 1, 0)
    assert (told["clean changed"], told["of"]) == (1, 2)
    assert told["all"] == (6.0 + 0.5 + 0.0) / 3
    assert second_look.line(second_look.judged(TABLE, 0.0, second_look.RULES["never"]))["rain"] == -1.0


def test_the_report_holds_the_rule_of_the_product():
    assert second_look.CHOSEN in second_look.report(TABLE).index
