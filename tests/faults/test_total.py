"""How many faults were injected. Collected last (conftest.py), so that it counts all that ran before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import report
from tests.faults.campaign import LEAST_QUICK, LEAST_WHOLE, Campaign
from tests.tiny import REPOSITORY

HERE = Path(__file__).parent


def test_there_were_enough(campaign: Campaign, request: pytest.FixtureRequest) -> None:
    ran = {item.path.name for item in request.session.items if item.path.parent == HERE}
    whole = request.session.config.getoption("markexpr") == "faults or quick_faults"
    files = {path.name for path in HERE.glob("test_*.py")} - (set() if whole else {"test_servers.py"})
    if request.session.testsfailed or not files <= ran:
        # one file by itself, or a failure that says enough
        return
    assert campaign.total >= (LEAST_WHOLE if whole else LEAST_QUICK)


def test_the_document_takes_the_figures() -> None:
    text = (REPOSITORY / report.DOCUMENT).read_text(encoding="utf-8")
    row = {"kind": "SIGKILL", "where": "ingest", "outcome": "same outputs", "count": 3}
    shown = report.with_figures(text, {"seed": 1, "total": 3, "seconds": 2, "rows": [row]})
    assert "| SIGKILL | 3 | ingest | same outputs |" in shown
    assert "3 faults with seed 1 in 2 s" in shown
    assert shown.partition(report.BEGIN)[0] == text.partition(report.BEGIN)[0]
    with pytest.raises(ValueError, match="markers"):
        report.with_figures("nothing", {})
