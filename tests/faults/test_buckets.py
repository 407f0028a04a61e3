"""An S3 store that answers 5xx, stalls, cuts and lies, and a cache of it that went bad, under the stage `ingest`.

pytest -m quick_faults tests/faults/test_buckets.py
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from components.photos import ingest as stage
from tests.faults.campaign import Campaign, drawn
from tests.faults.test_torn_files import DAMAGES
from tests.photos.faulty_proxy import FaultyProxy
from tests.photos.test_ingest import place, shard_bytes
from tests.photos.test_s3 import cached, proxy, server

__all__ = ["place", "proxy", "server"]  # fixtures
SAYS = {
    "busy": "5xx",
    "stall": "slow: no answer",
    "stall_body": "slow: half a body",
    "cut": "cut",
    "short": "cut: half a body",
    "truncated": "cut, length adjusted",
    "flipped": "a wrong byte",
}


def undisturbed(proxy: FaultyProxy) -> dict[str, bytes]:
    """What the same bucket gives without a fault; the folder is as before afterwards."""
    assert stage.main() == 0
    truth = shard_bytes()
    for folder in ("data", "work", "metrics"):
        shutil.rmtree(folder)
    proxy.fetched.clear()
    return truth


@pytest.mark.parametrize("fault", SAYS)
def test_a_fault_on_the_way_changes_nothing(proxy: FaultyProxy, campaign: Campaign, fault: str) -> None:
    """Three objects of ten fail once, at seeded places."""
    truth, draw = undisturbed(proxy), drawn("s3", fault)
    faults = [""] * 9
    for position in draw.sample(range(0, 9, 2), 3):
        faults[position] = fault
    proxy.faults[:] = faults
    assert stage.main() == 0
    assert shard_bytes() == truth
    campaign.note(f"S3: {SAYS[fault]}", "ingest", count=3)


@pytest.mark.parametrize("fault", SAYS)
def test_a_store_that_stays_bad_is_taken_up_again_later(
    proxy: FaultyProxy, campaign: Campaign, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    truth = undisturbed(proxy)
    good = drawn("s3, stays bad", fault).randrange(1, 6)
    proxy.faults[:] = [""] * good + [fault] * 50
    assert stage.main() == 1
    assert "Traceback" not in capsys.readouterr().err
    assert not Path("data/clean").exists()
    assert len(cached()) == good
    proxy.faults.clear()
    assert stage.main() == 0
    assert shard_bytes() == truth
    campaign.note(f"S3: {SAYS[fault]}, until the run gives up", "ingest")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cached_object_is_fetched_again(proxy: FaultyProxy, campaign: Campaign, damage: str) -> None:
    assert stage.main() == 0
    truth = shard_bytes()
    DAMAGES[damage](cached()[0], random.Random(0))
    proxy.fetched.clear()
    assert stage.main() == 0
    assert len(proxy.fetched) == 1
    assert shard_bytes() == truth
    campaign.note(f"cached object {damage}", "ingest")
