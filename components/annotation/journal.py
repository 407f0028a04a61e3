"""Every reply of an endpoint on disk before it counts: a run that is killed goes on without asking twice.

`answers.jsonl` holds one JSON object a line, appended and fsynced: pair (key), reply, tokens_in, tokens_out, seconds.
A pair that was asked again has several lines, in the order of asking.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

FILE = "answers.jsonl"


class JournalError(RuntimeError):
    """The journal cannot be read or written; one line."""


@dataclass(frozen=True)
class Reply:
    """What came back for one question: text, tokens, seconds from question to answer."""

    text: str
    tokens_in: int
    tokens_out: int
    seconds: float


class Journal:
    """The replies of a folder, those of earlier runs included. Use as a context; one process at a time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._replies: dict[str, list[Reply]] = {}
        self._file: BinaryIO

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab")
        self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            # the line at which an earlier run was killed
            self._file.truncate(whole)
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                row = json.loads(line)
                key = row.pop("pair")
                self._replies.setdefault(key, []).append(Reply(**row))
            except (ValueError, KeyError, TypeError, AttributeError):
                raise JournalError(f"{self.path}: line {number} is damaged; delete that line and run again") from None

    def replies(self, key: str) -> list[Reply]:
        """The replies for one pair in the order of asking."""
        return self._replies.get(key, [])

    def __len__(self) -> int:
        """How many replies there are."""
        return sum(len(replies) for replies in self._replies.values())

    def add(self, key: str, reply: Reply) -> None:
        """Keep a reply; when this returns it is on disk."""
        line = json.dumps({"pair": key, **asdict(reply)}, ensure_ascii=True).encode() + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise JournalError(f"{self.path}: cannot be written: {error.strerror}") from None
        self._replies.setdefault(key, []).append(reply)
