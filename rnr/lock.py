"""requirements.lock: what it pins, what is installed, and whether the installed files are those that came."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import Distribution
from pathlib import Path
from typing import NamedTuple

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
# not pinned: the installer, and this project itself
OWN = {"pip", "reason-and-restore"}
READERS = 4


def normal(name: str) -> str:
    """The one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path = LOCK) -> dict[str, str]:
    """Name -> version of every line. Raises ValueError for a line that pins nothing, FileNotFoundError."""
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        name, equals, version = text.partition("==")
        if not equals or not version:
            raise ValueError(f"{path}: line {number} pins no version: {text}")
        found[normal(name)] = version.strip()
    return found


def installed() -> dict[str, Distribution]:
    """Name -> what is installed in this environment; of two of one name the one that Python would import."""
    found: dict[str, Distribution] = {}
    for distribution in importlib.metadata.distributions():
        if distribution.metadata["Name"]:
            found.setdefault(normal(distribution.metadata["Name"]), distribution)
    return found


def differences(pinned: dict[str, str], found: dict[str, Distribution]) -> Iterator[str]:
    """Each pin that is missing or of another version, and each package that nobody pinned; in words."""
    for name, version in pinned.items():
        if name not in found:
            yield f"{name} {version} is not installed"
        elif found[name].version != version:
            yield f"{name} is {found[name].version}, pinned is {version}"
    yield from (f"{name} {found[name].version} is not pinned" for name in sorted(found.keys() - pinned.keys() - OWN))


class Changed(NamedTuple):
    """A file of a package that is not what the package's RECORD says. `owner`: another package whose RECORD it fits."""

    package: str
    file: str
    why: str
    owner: str | None = None


def changed_files(distributions: list[Distribution]) -> list[Changed]:
    """Files of packages that are gone or do not fit their RECORD (SHA-256).

    RECORD is what pip wrote when it installed the package: this finds later changes, not a package that was bad when
    it came.
    """
    # hashing releases the interpreter, so that some are read side by side
    with ThreadPoolExecutor(READERS) as pool:
        found = [changed for of_one in pool.map(_changed_files, distributions) for changed in of_one]
    if not found:
        return []
    owners: dict[tuple[str, str], str] = {}
    for distribution in distributions:
        for file, _, digest in _recorded(distribution) or []:
            owners[file, digest] = distribution.metadata["Name"]
    return [changed._replace(owner=owners.get((changed.file, changed.why))) for changed in found]


def _recorded(distribution: Distribution) -> list[tuple[str, str, str]] | None:
    """(file, kind of digest, digest) of each file that RECORD has a digest of; None where there is no RECORD.

    `distribution.files` leaves out what is gone once the importlib_metadata of another library has been imported.
    """
    text = distribution.read_text("RECORD")
    if text is None:
        return None
    # RECORD itself and compiled Python have no digest
    rows = [(row[0], *row[1].partition("=")) for row in csv.reader(text.splitlines()) if len(row) > 1 and row[1]]
    return [(file, kind, digest.rstrip("=")) for file, kind, _, digest in rows]


def _changed_files(distribution: Distribution) -> list[Changed]:
    name, found = distribution.metadata["Name"], []
    recorded = _recorded(distribution)
    if recorded is None:
        return [Changed(name, "RECORD", "is missing")]
    for file, kind, expected in recorded:
        try:
            with open(Path(str(distribution.locate_file(file))), "rb") as content:
                digest = hashlib.file_digest(content, kind).digest()
        except (OSError, ValueError) as error:
            found.append(Changed(name, file, getattr(error, "strerror", None) or str(error)))
            continue
        if (encoded := base64.urlsafe_b64encode(digest).rstrip(b"=").decode()) != expected:
            found.append(Changed(name, file, encoded))
    return found
