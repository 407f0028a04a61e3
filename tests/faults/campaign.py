"""What was injected, and what came of it. A fault is noted only after its checks have held."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

SEED = int(os.environ.get("RNR_FAULTS_SEED", "20261125"))
REPORT = "RNR_FAULTS_REPORT"
LEAST_QUICK, LEAST_WHOLE = 100, 200


class Campaign:
    """Counts by (kind, where, what came of it)."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter()

    def note(self, kind: str, where: str, outcome: str = "same outputs", count: int = 1) -> None:
        self.counts[kind, where, outcome] += count

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def write(self, path: Path, seconds: float) -> None:
        rows = [
            {"kind": kind, "where": where, "outcome": outcome, "count": count}
            for (kind, where, outcome), count in sorted(self.counts.items())
        ]
        content = {"seed": SEED, "total": self.total, "seconds": round(seconds), "rows": rows}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def rounds(quick: int, whole: int) -> list:
    """Numbers of rounds; those past the quick ones only in `make faults`."""
    return some(range(whole), range(quick))


def some(values: Iterable, quick: Iterable) -> list:
    """The values as parameters of a test; only those of `quick` outside `make faults`."""
    chosen = list(quick)
    return [pytest.param(value, marks=[] if value in chosen else [pytest.mark.faults]) for value in values]


def drawn(*what: object) -> random.Random:
    """The moments of one test; the same seed gives the same ones."""
    return random.Random("/".join(map(str, (SEED, *what))))
