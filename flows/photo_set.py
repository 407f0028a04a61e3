"""What photos lie in a source: a digest that changes when a photo came, went or changed.

    python -m flows.photo_set

DVC sees the list of sources, not what is inside folders and buckets. The command, and every run of the flow, writes
what is inside them into data/sources.json, on which stage `ingest` depends: with the same photos the file stays the
same, and nothing runs. A folder counts by the content of its files, a bucket by its listing (names, sizes, ETags);
no object is fetched.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from components import params, storage
from components.photos import sources
from components.photos.config import IngestParams
from components.photos.decode import SUFFIXES, PhotoError, find_photos
from components.storage import s3

WRITTEN = Path("data/sources.json")
# content that was read once: name -> size, time of change, SHA-256; may be deleted at any time
KNOWN = Path("work/photo-set")
# a file that changed less than this before it was read may change again within one tick of its clock
TICK_S = 2.0


class PhotoSetError(RuntimeError):
    """A source cannot be read; one line that names it."""


@dataclass(frozen=True)
class PhotoSet:
    """The photos of one source, and its SOURCES.csv where there is one. `digest`: 32 hex digits."""

    photos: int
    size_bytes: int
    digest: str


def look(source: str) -> PhotoSet:
    """What lies in one entry of `ingest.sources` now; a source without any photo is an empty set.

    Raises PhotoSetError for a folder that is not there and for a bucket that cannot be read.
    """
    try:
        sources.check(source)
        entries = list(_in_bucket(source) if source.startswith(s3.SCHEME) else _in_folder(sources.folder_of(source)))
    except (params.ParamsError, s3.S3Error, OSError) as error:
        raise PhotoSetError(" ".join(str(error).split())) from error
    digest = hashlib.sha256(json.dumps(sorted(entries)).encode()).hexdigest()[:32]
    photos = [size for name, size, _ in entries if name != sources.SOURCES_CSV]
    return PhotoSet(len(photos), sum(photos), digest)


def _in_bucket(source: str) -> Iterator[tuple[str, int, str]]:
    bucket, prefix = s3.split_address(source)
    for item in s3.list_objects(s3.connect(bucket), bucket, prefix):
        name = item.key.removeprefix(prefix)
        hidden = any(part.startswith(".") for part in name.split("/"))
        if name == sources.SOURCES_CSV or (name.lower().endswith(SUFFIXES) and not hidden):
            yield name, item.size, item.etag


def _in_folder(folder: Path) -> Iterator[tuple[str, int, str]]:
    """Content, not time of change: a copy of the same photos is the same set. Unchanged files are not read again."""
    book = KNOWN / f"{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]}.json"
    before, after = _read(book), {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        try:
            state = path.stat()
            stamp = [state.st_size, state.st_mtime_ns, state.st_ino]
            known = before.get(name)
            if isinstance(known, list) and known[:-1] == stamp:
                digest = str(known[-1])
            else:
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            # it went while we looked; so it is not in the set
            continue
        if time.time() - state.st_mtime > TICK_S:
            after[name] = [*stamp, digest]
        yield name, state.st_size, digest
    if after != before:
        storage.write_json(book, after)


def _files(folder: Path) -> list[Path]:
    try:
        photos = find_photos([folder])
    except PhotoError:
        # an empty folder: photos will come
        photos = []
    table = folder / sources.SOURCES_CSV
    return [*photos, table] if table.is_file() else photos


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def external(given: Iterable[str]) -> list[str]:
    """The sources that DVC cannot see into: all but "builtin", which is a dependency of stage `ingest` itself."""
    return [source for source in given if source != "builtin"]


def listed() -> list[str]:
    """`ingest.sources` of params.yaml. Raises ParamsError."""
    return params.load("ingest", IngestParams).sources


def check(source: str) -> None:
    """Is it an S3 address or a folder that exists? Raises ParamsError."""
    sources.check(source)


def refresh() -> bool:
    """Write data/sources.json for the sources of params.yaml; True when it changed. Raises PhotoSetError, ParamsError.

    An unchanged file keeps its time: DVC need not read it again.
    """
    found = {source: asdict(look(source)) for source in external(listed())}
    if WRITTEN.exists() and _read(WRITTEN) == found:
        return False
    storage.write_json(WRITTEN, found)
    return True


def main() -> int:
    try:
        changed = refresh()
    except params.ParamsError as error:
        print(error, file=sys.stderr)
        return 2
    except PhotoSetError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{WRITTEN}: {'changed; `rnr run` computes with it' if changed else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
