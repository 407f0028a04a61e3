"""Who may reach a server of ours."""

from __future__ import annotations

import pytest

from components.serving import access

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_needs_no_token(host: str) -> None:
    assert access.is_loopback(host)
    access.check_bind(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.4", "localhost.example.org", "127.0.0.1.example.org"])
def test_elsewhere_a_token_is_needed(host: str) -> None:
    assert not access.is_loopback(host)
    with pytest.raises(access.AccessError, match="set RNR_SERVER_TOKEN") as caught:
        access.check_bind(host, None)
    assert "\n" not in str(caught.value)
    access.check_bind(host, TOKEN)
    with pytest.raises(access.AccessError, match="5 characters, at least 16"):
        access.check_bind(host, "short")


def test_the_token_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(access.TOKEN_VARIABLE, f" {TOKEN}\n")
    expected = access.token()
    assert expected == TOKEN
    assert access.allowed(f"Bearer {TOKEN}", expected)
    assert access.allowed(f"bearer {TOKEN}", expected)
    for header in (None, "", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ", "Bearer \u00e9"):
        assert not access.allowed(header, expected)
    monkeypatch.setenv(access.TOKEN_VARIABLE, "")
    assert access.token() is None
    assert access.allowed(None, None)
