"""Who may ask a server of ours: anybody on this machine, and from elsewhere whoever has the token.

access.check_bind("0.0.0.0", access.token())      # raises AccessError: no token is set
access.allowed("Bearer abc", expected="abc")      # True
"""

from __future__ import annotations

import hmac
import ipaddress
import os

TOKEN_VARIABLE = "RNR_SERVER_TOKEN"
LEAST_TOKEN = 16  # characters
LOOPBACK = "127.0.0.1"  # the default of every server of ours


class AccessError(ValueError):
    """A server may not be opened as asked; one line with the remedy."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host` (a name other than localhost is not trusted:
    what it means is decided elsewhere)."""
    bare = host.strip().strip("[]")
    if bare.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def token() -> str | None:
    """The token of this server's environment; None where none is set."""
    return os.environ.get(TOKEN_VARIABLE, "").strip() or None


def check_bind(host: str, expected: str | None) -> None:
    """Raises AccessError when a server on `host` would be open to everybody, or its token could be guessed."""
    if expected is not None and len(expected) < LEAST_TOKEN:
        raise AccessError(f"{TOKEN_VARIABLE}: {len(expected)} characters, at least {LEAST_TOKEN} are needed")
    if expected is None and not is_loopback(host):
        raise AccessError(
            f"host {host}: others than this machine could reach it, and no token is set; set {TOKEN_VARIABLE} "
            f"(`openssl rand -hex 32`), or listen on {LOOPBACK}"
        )


def allowed(authorization: str | None, expected: str | None) -> bool:
    """Whether a request with this Authorization header may pass; without an expected token every one may."""
    if expected is None:
        return True
    scheme, _, given = (authorization or "").partition(" ")
    # in constant time: how much of a guess was right must not show
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), expected.encode())
