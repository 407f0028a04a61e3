"""Who can reach a server of ours."""

from __future__ import annotations

import pytest

from rnr.access import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_this_machine_alone(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.4", "localhost.example.org", "127.0.0.1.example.org"])
def test_others_too(host: str) -> None:
    assert not is_loopback(host)
