"""The verdicts of the load: each requirement can be missed, and memory is judged by quarters."""

from __future__ import annotations

import pytest

from benchmarks import serving

GOOD = {
    "requests": 900,
    "failures": {"429": 12},
    "p95_over_unloaded_times_queue": 1.1,
    "memory_mb": [900.0, 910.0],
    "memory_growth": 910 / 900 - 1,
}


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, []),
        ({"failures": {"429": 12, "500": 1}}, ["no error other than 429"]),
        ({"failures": {"no answer": 1}}, ["no error other than 429"]),
        ({"p95_over_unloaded_times_queue": 1.51}, ["p95 at most 1.5 x unloaded x queue"]),
        ({"memory_growth": 0.06}, ["memory grows by at most 5%"]),
    ],
)
def test_a_requirement_that_is_missed_is_named(change: dict[str, object], missed: list[str]) -> None:
    assert [name for name, _, holds in serving.verdicts(GOOD | change) if not holds] == missed


def test_growth_is_that_of_a_warm_server() -> None:
    watch = serving.Watch("nowhere")
    watch.seen = [600.0, 800.0, 900.0, 900.0, 905.0, 2000.0, 930.0, 930.0]
    assert watch.quarters() == (900.0, 930.0)
    watch.seen = [700.0]
    assert watch.quarters() == (700.0, 700.0)
