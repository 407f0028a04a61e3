"""`rnr serve`: what is refused before anything is opened, and which models it follows."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import pytest

import rnr
from components import inference, tracking
from rnr import serve_command
from tests.rnr.conftest import FakeModels, run


@pytest.mark.parametrize(
    ("token", "arguments", "told"),
    [
        ("", ["--host", "0.0.0.0"], "so set RNR_TOKEN to a token"),
        ("", ["--host", "::", "--token-from-env", "OTHER"], "so set OTHER to a token"),
        ("short", [], "RNR_TOKEN: a token has 16 or more plain characters"),
        ("with a space in its midst", [], "RNR_TOKEN: a token has"),
        ("", ["--port", "70000"], "'70000' is not a port"),
        ("", ["--queue", "0"], "'0' is not a whole number of at least 1"),
        ("", ["--reload-every", "-1"], "'-1' is not a number of seconds"),
        ("", ["--model", "nowhere"], "nowhere: no model folder"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys, token: str, arguments: list[str], told: str
) -> None:
    monkeypatch.setenv("RNR_TOKEN", token)
    monkeypatch.delenv("OTHER", raising=False)
    assert run("serve", *arguments) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_an_address_that_is_taken(place: Path, models, capsys) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert run("serve", "--port", port) == 2
    assert capsys.readouterr().err == f"rnr: --host 127.0.0.1 --port {port}: Address already in use\n"


@pytest.mark.parametrize(
    ("host", "own"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.7", False)]
)
def test_which_addresses_only_this_machine_reaches(host: str, own: bool) -> None:
    assert serve_command.is_loopback(host) == own


def test_a_champion_is_followed_and_not_given_up_for_the_pretrained_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    now = ["pretrained"]
    monkeypatch.setattr(rnr, "pinned", lambda ref: now[0])
    monkeypatch.setattr(rnr, "load", lambda ref, device: FakeModels())
    args = argparse.Namespace(model=None, device="cpu", queue=2, reload_every=0)
    service = serve_command.start(args, 1000)
    assert service.live.name == "pretrained"
    now[0] = "models:/reason-and-restore/3"
    assert service._following.look()
    now[0] = "pretrained"
    assert not service._following.look()
    assert service.live.name == "models:/reason-and-restore/3"


def test_a_reference_is_pinned_to_a_version(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rnr.pinned() == "pretrained"
    assert rnr.pinned("some/folder") == "some/folder"
    with pytest.raises(inference.ModelRefError, match="no model registry"):
        rnr.pinned(tracking.CHAMPION)
    store = tracking.client()
    store.create_registered_model(tracking.MODEL_NAME)
    made = store.create_model_version(tracking.MODEL_NAME, place.as_uri())
    assert rnr.pinned() == "pretrained"
    store.set_registered_model_alias(tracking.MODEL_NAME, "champion", made.version)
    assert rnr.pinned() == rnr.pinned(tracking.CHAMPION) == f"models:/{tracking.MODEL_NAME}/{made.version}"
