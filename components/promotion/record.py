"""The record of every promotion, refusal and rollback: only ever extended, and a chain that shows a change.

An entry is JSON with a number, who and when, what was done to which version and why, and `previous`: the SHA-256 of
the entry before. It lies in the registry, the one place that every machine shares and that outlives all of them (the
sequence RECORD), and is copied to LOCAL on the machine that wrote it, so that the two can be held against each other.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from components import redaction, tracking
from components.tracking import lineage, sequence

RECORD = f"{tracking.MODEL_NAME}-record"
ABOUT = "No model: the record of promotions, refusals and rollbacks; `rnr history` checks it. See docs/promotion.md."
LOCAL = Path("audit/promotions.jsonl")
GENESIS = "0" * 64


@dataclass(frozen=True)
class Entry:
    """`text` is the JSON as it was written, `sha256` the digest that was written beside it."""

    number: int
    text: str
    sha256: str

    @property
    def content(self) -> dict:
        """The entry's fields; none where it was overwritten with something else."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def append(action: str, **facts: object) -> Entry:
    """One more entry, in the registry and in LOCAL. Only within a turn: else two may follow the same one."""
    last = _newest()
    content = {
        "time": now(),
        "action": action,
        "by": _who(),
        "host": platform.node(),
        **lineage.code_version(),
        **redaction.redact_all(facts),
        "number": last.content.get("number", 0) + 1 if last else 1,
        "previous": last.sha256 if last else GENESIS,
    }
    text = json.dumps(content, sort_keys=True)
    entry = Entry(0, text, _digest(text))
    number = sequence.append(RECORD, ABOUT, {"entry": text, "sha256": entry.sha256})
    LOCAL.parent.mkdir(parents=True, exist_ok=True)
    with open(LOCAL, "a", encoding="utf-8") as file:
        file.write(json.dumps({**content, "sha256": entry.sha256}, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return replace(entry, number=number)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _newest() -> Entry | None:
    tags = sequence.newest(RECORD)
    return Entry(0, tags.get("entry", ""), tags.get("sha256", "")) if tags else None


def read() -> list[Entry]:
    """Every entry of the registry, the oldest first. Raises TrackingError."""
    return [Entry(n, tags.get("entry", ""), tags.get("sha256", "")) for n, tags in sequence.entries(RECORD).items()]


def champion_on_record() -> str | None:
    """The champion as the newest entry left it; None where nothing was recorded or there was none."""
    last = _newest()
    return last.content.get("champion_after") if last else None


def note_moves_by_hand(champion: str | None) -> None:
    """Add an entry when @champion is not where the record left it: somebody moved it, or a promotion was killed
    between the alias and its entry. Only within a turn."""
    recorded = champion_on_record()
    if recorded != champion:
        append("found moved", champion_before=recorded, champion_after=champion)


def been_champion() -> set[str]:
    """Versions that were the champion at some time."""
    return {str(entry.content["champion_after"]) for entry in read() if entry.content.get("champion_after")}


def faults(entries: list[Entry], champion: str | None) -> list[str]:
    """What shows that the record was changed, or that @champion (now `champion`) was moved beside it; a line each."""
    found = []
    previous, expected = GENESIS, 1
    for entry in entries:
        content = entry.content
        if _digest(entry.text) != entry.sha256:
            found.append(f"entry {entry.number} was changed after it was written")
        if entry.number != expected:
            found.append(f"entries {expected} to {entry.number - 1} were removed")
        elif content.get("number") != entry.number or content.get("previous") != previous:
            found.append(f"entry {entry.number} does not follow the one before it")
        previous, expected = entry.sha256, entry.number + 1
    if entries and entries[-1].content.get("champion_after") != champion:
        recorded = entries[-1].content.get("champion_after") or "none"
        found.append(f"@champion is version {champion or 'none'}, the record left it at {recorded}: moved by hand")
    return found + _local_faults({entry.number: entry.sha256 for entry in entries})


def _local_faults(known: dict[int, str]) -> list[str]:
    """Where the registry no longer has what this machine wrote."""
    if not LOCAL.exists():
        return []
    found = []
    for line, text in enumerate(LOCAL.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(text)
            number, digest = int(row["number"]), row.pop("sha256")
        except (ValueError, KeyError, TypeError):
            found.append(f"{LOCAL}: line {line} is no entry")
            continue
        if _digest(json.dumps(row, sort_keys=True)) != digest:
            found.append(f"{LOCAL}: line {line} was changed after it was written")
        if known.get(number) != digest:
            found.append(f"{LOCAL}: line {line} (entry {number}) is not what the registry has under that number")
    return found


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # a container may run under a number that no name belongs to
        return str(os.getuid())
