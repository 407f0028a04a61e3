"""One undisturbed run of every stage to compare with, and the count of all faults."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import campaign as book
from tests.faults.stages import Bench, Zygote, make_truth

_campaign = book.Campaign()
_began = time.monotonic()


@pytest.fixture(scope="session")
def campaign() -> book.Campaign:
    return _campaign


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    parent = Zygote()
    yield parent
    parent.close()


@pytest.fixture(scope="session")
def bench(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_truth(zygote, tmp_path_factory.mktemp("truth") / "truth")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if not _campaign.total:
        return
    print(f"\nfaults: {_campaign.total} injected with seed {book.SEED}, every rerun as undisturbed")
    path = os.environ.get(book.REPORT)
    if path and not exitstatus:
        _campaign.write(Path(path), time.monotonic() - _began)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What `make faults` alone runs is marked; the others are the quick part. The count comes after all it counts."""
    for item in items:
        if item.path.parent == Path(__file__).parent and not item.get_closest_marker("faults"):
            item.add_marker(pytest.mark.quick_faults)
    items.sort(key=lambda item: item.path.name == "test_total.py" and item.path.parent.name == "faults")
