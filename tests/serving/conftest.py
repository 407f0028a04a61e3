"""One `rnr serve` with the pretrained pair for all tests that only ask it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving.endpoint import Served, serving


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), "--model", "pretrained") as server:
        yield server
