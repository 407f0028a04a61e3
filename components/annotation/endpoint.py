"""The one door to an OpenAI-compatible endpoint: questions out, replies or plain reasons back, the key never.

The key comes from RNR_TEACHER_API_KEY, else OPENAI_API_KEY, else there is none (local servers want none). Whatever
an endpoint sends passes `Key.scrub` before anything else sees it: some echo the request in their errors.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import urllib.parse
from typing import Any

import openai

from components.annotation.answer import RESPONSE_FORMAT
from components.annotation.config import AnnotateParams
from components.annotation.journal import Reply
from components.params import ParamsError

KEY_VARIABLES = ("RNR_TEACHER_API_KEY", "OPENAI_API_KEY")
LONGEST_PAUSE_S = 120.0  # that the client waits between two tries when a Retry-After asks for it
SHOWN_CHARACTERS = 200  # of an endpoint's own words
BEARER = re.compile(r"(?i)\b(bearer|api[-_]key|authorization)(\W{1,5})(?!bearer)[\w./+~=-]{6,}")
SHORTEST_SECRET = 6  # characters; anything shorter would be found everywhere


class EndpointError(RuntimeError):
    """The endpoint cannot be used at all; one line with its address and what helps, without a secret."""


class NoAnswer(RuntimeError):
    """One question stayed without a reply, all retries included."""

    def __init__(self, why: str, unreachable: bool = False) -> None:
        super().__init__(why)
        self.unreachable = unreachable


class Key:
    """The secret, and the eraser of it."""

    def __init__(self) -> None:
        given = ((name, os.environ.get(name, "").strip()) for name in KEY_VARIABLES)
        self.variable, self._value = next(((n, v) for n, v in given if v), (KEY_VARIABLES[0], ""))
        if not re.fullmatch(r"[\x21-\x7e]*", self._value):
            raise EndpointError(f"{self.variable} holds a space or a character that no HTTP header can carry")

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Key(***)"

    def reveal(self) -> str:
        """For the client alone. Servers without a key ignore what they get, but the client wants something."""
        return self._value or "none"

    def scrub(self, text: str) -> str:
        """The text without the key, plain or as URLs, JSON and base64 write it."""
        if len(self._value) >= SHORTEST_SECRET:
            encoded = base64.b64encode(self._value.encode()).decode().rstrip("=")
            quoted = json.dumps(self._value)[1:-1]
            for form in {self._value, encoded, quoted, urllib.parse.quote(self._value, safe="")}:
                text = text.replace(form, "***")
        return text


def check(config: AnnotateParams, address_key: str = "annotate.endpoint", model_key: str = "annotate.model") -> None:
    """Raises ParamsError where the parameters cannot name an endpoint. An address with a secret is not repeated."""
    address = urllib.parse.urlsplit(config.endpoint)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ParamsError(f"{address_key}: write the base URL, such as http://127.0.0.1:8000/v1")
    if "@" in config.endpoint or address.query or address.fragment:
        raise ParamsError(f"{address_key}: no credentials and no query in the URL; set {KEY_VARIABLES[0]} instead")
    if not config.model:
        raise ParamsError(f"{model_key}: name the model that the endpoint serves")


class Endpoint:
    """Asks with `openai.AsyncOpenAI`, whose retries have jitter and honour Retry-After. Use as an async context."""

    def __init__(self, config: AnnotateParams, key: Key, response_format: dict = RESPONSE_FORMAT) -> None:
        self._config, self._key = config, key
        self.requests = 0
        self._fields: dict[str, Any] = {
            "response_format": response_format,
            "temperature": config.temperature,
            "seed": config.seed,
            "max_tokens": config.max_tokens,
        }
        self._client = openai.AsyncOpenAI(
            base_url=config.endpoint,
            api_key=key.reveal(),
            timeout=config.timeout_s,
            max_retries=config.max_retries,
            http_client=openai.DefaultAsyncHttpx2Client(event_hooks={"request": [self._count]}),
        )
        # a server that sends a byte now and then never times out by itself
        self._patience_s = (config.timeout_s + LONGEST_PAUSE_S) * (config.max_retries + 1)

    async def __aenter__(self) -> Endpoint:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def _count(self, _: object) -> None:
        self.requests += 1

    async def ask(self, messages: list[dict]) -> Reply:
        """One question. Raises NoAnswer when it stays without a reply, EndpointError when asking on is no use."""
        asked: Any = messages
        while True:
            fields = dict(self._fields)
            try:
                async with asyncio.timeout(self._patience_s):
                    raw = await self._client.chat.completions.with_raw_response.create(
                        model=self._config.model, messages=asked, **fields
                    )
                return self._reply(raw.text, raw.elapsed.total_seconds())
            except (openai.APITimeoutError, TimeoutError):
                raise NoAnswer(f"no answer within {self._config.timeout_s:g} s", unreachable=True) from None
            except openai.APIConnectionError as error:
                cause = type(error.__cause__ or error).__name__
                raise NoAnswer(f"the connection failed ({cause})", unreachable=True) from None
            except openai.APIStatusError as error:
                self._refused(error.status_code, error.response.text, fields)

    def _reply(self, text: str, seconds: float) -> Reply:
        try:
            body = json.loads(text)
            said = body["choices"][0]["message"].get("content") or ""
            usage = body.get("usage") or {}
            return Reply(
                self._key.scrub(said if isinstance(said, str) else json.dumps(said)),
                int(usage.get("prompt_tokens") or 0),
                int(usage.get("completion_tokens") or 0),
                round(seconds, 3),
            )
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            raise NoAnswer("what came back is no chat completion") from None

    def _refused(self, status: int, body: str, asked_with: dict[str, Any]) -> None:
        """Returns when the same question may be asked at once without the field that was refused; else raises."""
        said = self._words(body)
        address, variable = self._config.endpoint, self._key.variable
        if status in (401, 403):
            remedy = f"the key in {variable} is refused" if self._key else f"it wants a key: set {variable}"
            raise EndpointError(f"{address}: HTTP {status}; {remedy}")
        if status == 404:
            raise EndpointError(
                f"{address}: HTTP 404; check annotate.endpoint (it mostly ends in /v1) and annotate.model "
                f"({self._config.model})"
            )
        if status in (400, 422):
            for name in asked_with:
                if name in body or (name == "response_format" and "json_schema" in body):
                    self._drop(name)
                    return
        raise NoAnswer(f"HTTP {status}{': ' if said else ''}{said}")

    def _words(self, body: str) -> str:
        """The message of an error's body in one line, without the key and without what looks like any other."""
        try:
            value = json.loads(body)
            error = value.get("error") or value.get("detail") or value.get("message") or value
            body = str(error.get("message") or error) if isinstance(error, dict) else str(error)
        except (ValueError, AttributeError, RecursionError):
            pass
        return BEARER.sub(r"\1\2***", self._key.scrub(" ".join(body.split())))[:SHOWN_CHARACTERS]

    def _drop(self, name: str) -> None:
        value = self._fields.pop(name, None)
        if value is None:  # another question found out first
            return
        if name == "max_tokens":  # newer models of OpenAI know it by another name only
            self._fields["max_completion_tokens"] = value
        print(f"annotate: {self._config.endpoint} refuses {name}; asking without it", flush=True)
