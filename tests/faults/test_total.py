"""How many faults were injected. Collected last (conftest.py), so that it counts all that ran before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import LEAST_QUICK, LEAST_WHOLE, Campaign

HERE = Path(__file__).parent


def test_there_were_enough(campaign: Campaign, request: pytest.FixtureRequest) -> None:
    ran = {item.path.name for item in request.session.items if item.path.parent == HERE}
    whole = request.session.config.getoption("markexpr") == "faults or not slow and not gpu"
    files = {path.name for path in HERE.glob("test_*.py")} - (set() if whole else {"test_servers.py"})
    if request.session.testsfailed or not files <= ran:
        # one file by itself, or a failure that says enough
        return
    assert campaign.total >= (LEAST_WHOLE if whole else LEAST_QUICK)
