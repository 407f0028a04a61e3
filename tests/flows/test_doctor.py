"""The doctor at the real Prefect server of this session."""

from __future__ import annotations

import pytest

from rnr import doctor_services, lock
from rnr.checks import OK


def test_a_real_prefect_server_answers_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL

    address = PREFECT_API_URL.value()
    assert address
    monkeypatch.setenv("PREFECT_API_URL", address)
    (check,) = doctor_services.prefect()
    assert (check.state, check.told) == (OK, f"{address}, version {lock.pins()['prefect']}")
