"""The `openai` teacher: every pair is shown to a model behind an endpoint, and its answer held against the recipe.

All pairs are asked first, `concurrency` at a time; each reply is journaled in work/annotate/<digest>/ before it
counts. An answer that contradicts the recipe is asked again with the contradiction named, `ask_again` times, then set
aside with the reason. The digest covers what an answer depends on but the pairs: model, prompt, image_px, sampling.
Each pair has a key of its own picture and recipe: new photos do not ask the old ones again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from components import storage
from components.annotation import answer, evidence
from components.annotation.answer import TeacherAnswer
from components.annotation.config import AnnotateParams
from components.annotation.endpoint import Endpoint, EndpointError, Key, NoAnswer, check
from components.annotation.journal import Journal
from components.annotation.table import EVERY_S, Table

WORK = Path("work/annotate")
# questions in a row without any reply after which the endpoint counts as gone; at least the questions in flight
LEAST_FAILURES = 3


@dataclass(frozen=True)
class Pair:
    """What is asked about: the degraded picture (PNG), the true recipe (JSON) and severities (7, order of TYPES)."""

    pair_id: str
    degraded: bytes
    recipe: str
    severities: list[float]

    def key(self) -> str:
        """32 hex digits that change with anything the conversation about this pair depends on."""
        digest = hashlib.sha256(self.degraded)
        digest.update(json.dumps([self.pair_id, self.recipe, [float(s) for s in self.severities]]).encode())
        return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Outcome:
    """The accepted answer of a pair, or why there is none."""

    answer: TeacherAnswer | None
    set_aside: str


def digest(config: AnnotateParams) -> str:
    """16 hex digits of what all answers depend on."""
    words = [answer.SYSTEM, answer.QUESTION, answer.AGAIN, json.dumps(answer.SCHEMA)]
    asked = config.model_dump(include={"model", "image_px", "max_tokens", "temperature", "seed"})
    return hashlib.sha256(json.dumps([words, asked], sort_keys=True).encode()).hexdigest()[:16]


def picture_url(image: np.ndarray, longest_px: int) -> str:
    """An (H, W, 3) uint8 picture as a data URL, shrunk to `longest_px` if larger. PNG: nothing is added to it."""
    picture = Image.fromarray(image)
    picture.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def ask_all(config: AnnotateParams, pairs: Iterator[Pair], table: Table) -> dict[str, Outcome]:
    """The outcome of every pair by its pair_id. Raises ParamsError, JournalError, or EndpointError when the endpoint
    cannot be used; the replies so far are kept and a later run goes on from them."""
    check(config)
    folder = WORK / digest(config)
    with storage.only_one(folder), Journal(folder) as journal:
        if len(journal):
            print(f"annotate: {len(journal)} replies of an earlier run are in {journal.path}", flush=True)
        try:
            return asyncio.run(Conversation(config, journal, table).hold(pairs))
        except EndpointError as error:
            kept = f"{len(journal)} replies are kept in {journal.path}; run again to go on"
            raise EndpointError(f"{error} ({kept})") from None
        finally:
            table.print_row()


class Conversation:
    """All questions of one run."""

    def __init__(self, config: AnnotateParams, journal: Journal, table: Table) -> None:
        self._config, self._journal, self._table = config, journal, table
        self._endpoint = Endpoint(config, Key())
        self._outcomes: dict[str, Outcome] = {}
        self._heard = False
        self._failures = 0  # questions without a reply since the last reply

    async def hold(self, pairs: Iterator[Pair]) -> dict[str, Outcome]:
        """Ask about all pairs, `concurrency` at a time."""
        async with self._endpoint:
            ticker = asyncio.create_task(self._tick())
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._config.concurrency):
                        group.create_task(self._work(pairs))
            except ExceptionGroup as group_error:
                raise group_error.exceptions[0] from None
            finally:
                ticker.cancel()
                with suppress(asyncio.CancelledError):
                    await ticker
                self._table.requests = self._endpoint.requests
        return self._outcomes

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            self._table.requests = self._endpoint.requests
            self._table.print_row()

    async def _work(self, pairs: Iterator[Pair]) -> None:
        # one iterator for all: each takes the next pair when it is free
        for pair in pairs:
            before = self._table.questions
            outcome = await self._settle(pair)
            self._outcomes[pair.pair_id] = outcome
            self._table.done += 1
            self._table.from_journal += self._table.questions == before
            self._table.aside += bool(outcome.set_aside)

    async def _settle(self, pair: Pair) -> Outcome:
        """Ask about one pair until an answer can be taken, or for the last time."""
        key, first = pair.key(), None
        reply, problem = "", ""
        for number in range(self._config.ask_again + 1):
            known = self._journal.replies(key)
            if number < len(known):
                reply = known[number].text
            else:
                first = first or self._question(pair)
                messages = answer.again_messages(first, reply, problem) if problem else first
                try:
                    reply = await self._ask(key, messages, again=number > 0)
                except NoAnswer as error:
                    return Outcome(None, f"no answer: {error}")
            taken, problem = answer.problem_of(reply, pair.severities, self._config.max_severity_error)
            if taken:
                return Outcome(taken, "")
        return Outcome(None, problem)

    def _question(self, pair: Pair) -> list[dict]:
        image = storage.decode_image(pair.degraded)
        return answer.first_messages(picture_url(image, self._config.image_px), evidence.measure(image))

    async def _ask(self, key: str, messages: list[dict], again: bool) -> str:
        self._table.questions += 1
        self._table.again += again
        try:
            reply = await self._endpoint.ask(messages)
        except NoAnswer as error:
            self._failures += 1
            gone = error.unreachable and not self._heard
            if gone or self._failures >= max(LEAST_FAILURES, self._config.concurrency):
                remedy = "is the server up, and annotate.endpoint right?"
                if not error.unreachable:
                    remedy = f"check annotate.endpoint and annotate.model ({self._config.model}), and the server's log"
                raise EndpointError(f"{self._config.endpoint}: {error}; {remedy}") from None
            raise
        self._heard, self._failures = True, 0
        self._journal.add(key, reply)
        self._table.answered(reply.tokens_in, reply.tokens_out, reply.seconds)
        return reply.text
