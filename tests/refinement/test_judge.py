"""The judge against a real HTTP server that answers, hangs, talks nonsense, errs, or is not there."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Callable

import pytest
import torch

from components.params import ParamsError
from components.refinement.judge import GIVE_UP, Judge, verdict_of
from tests.local_server import LocalServer, QuietHandler

PHOTOS, MEMBERS = 2, 4


class Server(LocalServer):
    """`plan(number)` says what happens to request `number`: words of an answer, a status, "silent" or "hang up"."""

    def __init__(self, plan: Callable[[int], str]) -> None:
        self.plan, self.asked, self.lock = plan, 0, threading.Lock()
        self.bodies: list[dict] = []
        super().__init__(Handler)

    @property
    def url(self) -> str:
        return f"{super().url}/v1"


class Handler(QuietHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = self.server.asked
            self.server.asked += 1
            self.server.bodies.append(body)
        what = self.server.plan(number)
        if what == "silent":
            select.select([self.connection], [], [], 30)
            self.close_connection = True
        elif what == "hang up":
            self.close_connection = True
        elif what.isdigit():
            self.send(int(what), json.dumps({"error": {"message": "out of memory"}}))
        elif what == "page":
            self.send(200, "<html>Please sign in</html>")
        else:
            message = {"role": "assistant", "content": what}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.send(200, json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "m",
                                       "choices": [choice]}))  # fmt: skip

    def send(self, status: int, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def judge_at(config, url: str, timeout_s: float = 5.0) -> Judge:
    asked = {"judge_endpoint": url, "judge_model": "m", "judge_timeout_s": timeout_s, "photos_per_step": PHOTOS}
    return Judge(config.model_copy(update=asked))


def ask(judge: Judge) -> torch.Tensor:
    degraded = torch.rand(PHOTOS, 3, 16, 16)
    restored = torch.rand(PHOTOS, MEMBERS, 3, 16, 16)
    drop = torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.0, 5.0, 2.0, 3.0]])
    return judge.preferences(degraded, restored, drop)


def test_the_preferred_member_gains_what_the_other_loses(config, capsys):
    with Server(lambda _: 'Looking closely... {"better": "A"}') as server:
        judge = judge_at(config, server.url)
        said = ask(judge)
    # the best and the worst by severity are shown, the second photo's in the other order
    assert said.tolist() == [[1, 0, 0, -1], [1, -1, 0, 0]]
    assert capsys.readouterr().out == ""
    body = server.bodies[0]
    assert [part["type"] for part in body["messages"][1]["content"]] == ["text", "image_url", "image_url", "image_url"]
    assert body["response_format"]["json_schema"]["name"] == "preference"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("I like them both.", "names neither A nor B"),
        ('{"better": "C"}', "names neither A nor B"),
        ("page", "no chat completion"),
        ("500", "HTTP 500"),
        ("404", "check refine.judge_endpoint"),
        ("401", "HTTP 401"),
        ("hang up", "connection failed"),
        ("silent", "no answer within 0.5 s"),
    ],
)
def test_trouble_costs_the_term_and_a_line(config, capsys, what, told):
    with Server(lambda _: what) as server:
        judge = judge_at(config, server.url, 0.5 if what == "silent" else 5.0)
        began = time.monotonic()
        assert ask(judge).abs().sum() == 0
        assert time.monotonic() - began < 15
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"refine: judge: {PHOTOS} of {PHOTOS} preferences are missing (") and told in line
    assert "goes on without" in line


def test_one_answer_of_two_counts_and_hope_returns(config, capsys):
    with Server(lambda number: '{"better": "B"}' if number % 2 else "503") as server:
        judge = judge_at(config, server.url)
        for _ in range(GIVE_UP + 1):
            assert int(ask(judge).abs().sum()) == 2
        assert not judge.gone
    assert "1 of 2 preferences are missing" in capsys.readouterr().out


def test_a_server_that_is_not_there_is_given_up(config, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    judge = judge_at(config, url)
    for _ in range(GIVE_UP + 2):
        assert ask(judge).abs().sum() == 0
    lines = capsys.readouterr().out.splitlines()
    assert judge.gone and len(lines) == GIVE_UP
    assert lines[-1].endswith("the rest goes without it")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"judge_endpoint": "ftp://x", "judge_model": "m"}, "refine.judge_endpoint: write the base URL"),
        ({"judge_endpoint": "", "judge_model": "m"}, "refine.judge_endpoint: write the base URL"),
        ({"judge_endpoint": "http://x/v1", "judge_model": ""}, "refine.judge_model: name the model"),
    ],
)
def test_wrong_parameters_are_told_before_anything_runs(config, changed, told):
    with pytest.raises(ParamsError, match=told):
        Judge(config.model_copy(update=changed))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"better": "A"}', "A"),
        ('<think>{"better": "B"}?</think> {"better": "neither"}', "neither"),
        ('{"better": "B"} {broken', "B"),
        ("A", None),
        ('{"better": ["A"]}', None),
        ("[1]{}", None),
        ('{"worse": "A"}', None),
    ],
)
def test_what_counts_as_an_answer(text, said):
    assert verdict_of(text) == said
