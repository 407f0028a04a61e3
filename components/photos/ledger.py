"""The ledger: which split and shard every photo ever ingested belongs to, so that new photos move no old one.

`data/ledger.csv` is tracked by git. A photo that left the sources keeps its row: it comes back to its split.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components import storage
from components.photos.split import SPLITS

LEDGER = Path("data/ledger.csv")
HEADER = ["photo_id", "split", "shard"]
PHOTO_ID = re.compile(r"[0-9a-f]{12}")


class LedgerError(ValueError):
    """The ledger cannot be used; one line with the file, the line and the remedy."""


@dataclass(frozen=True)
class Place:
    """Where a photo lies: shard `shard` (0 and up) of split `split`."""

    split: str
    shard: int


def read(path: str | Path) -> dict[str, Place]:
    """Place of each photo_id; empty where there is no ledger. Raises LedgerError."""
    try:
        lines = list(csv.reader(io.StringIO(Path(path).read_text(encoding="utf-8"))))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _wrong(path, 1, f"no CSV file in UTF-8 ({type(error).__name__})") from None
    if not lines or lines[0] != HEADER:
        raise _wrong(path, 1, f"expected the header {','.join(HEADER)}, found {','.join(lines[0] if lines else [])!r}")
    places: dict[str, Place] = {}
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(HEADER):
            raise _wrong(path, number, f"expected {','.join(HEADER)}, found {','.join(line)!r}")
        identity, split, shard = line
        if not PHOTO_ID.fullmatch(identity):
            raise _wrong(path, number, f"photo_id {identity!r} is not 12 hex digits")
        if identity in places:
            raise _wrong(path, number, f"photo_id {identity} stands there twice")
        if split not in SPLITS:
            raise _wrong(path, number, f"split {split!r} is none of {', '.join(SPLITS)}")
        if not re.fullmatch(r"[0-9]{1,5}", shard):
            raise _wrong(path, number, f"shard {shard!r} is no number from 0 to 99999")
        places[identity] = Place(split, int(shard))
    return places


def _wrong(path: str | Path, line: int, what: str) -> LedgerError:
    remedy = "restore the file from git, or delete it to share all photos out anew"
    return LedgerError(f"{path}: line {line}: {what}; {remedy}")


def write(path: str | Path, places: Mapping[str, Place]) -> None:
    """Sorted by photo_id, lines end in LF."""
    rows = [f"{identity},{place.split},{place.shard}" for identity, place in sorted(places.items())]
    with storage.whole_file(path) as part:
        part.write_bytes("\n".join([",".join(HEADER), *rows, ""]).encode())


def extend(places: Mapping[str, Place], splits: Mapping[str, str], photos_per_shard: int) -> dict[str, Place]:
    """The ledger with every photo of `splits` in it: new ones in new shards, numbered on from the highest."""
    extended = dict(places)
    for split in SPLITS:
        first = 1 + max((place.shard for place in places.values() if place.split == split), default=-1)
        new = sorted(photo for photo, its in splits.items() if its == split and photo not in places)
        extended |= {photo: Place(split, first + i // photos_per_shard) for i, photo in enumerate(new)}
    return extended
