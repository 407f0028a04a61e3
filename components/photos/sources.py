"""Where photos come from: the built-in set, folders, S3 buckets, each with a SOURCES.csv or without."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from components import params, storage
from components.diagnosis import SCENES
from components.photos.decode import SUFFIXES, PhotoError, find_photos
from components.storage import s3

BUILTIN = Path("data/photos")
SOURCES_CSV = "SOURCES.csv"


@dataclass(frozen=True)
class Found:
    """One photo of a source, with what its SOURCES.csv says of it (empty where there is none).

    `name` is what the shards call it; `path` is where its bytes lie, None for one that is promised and not there.
    """

    name: str
    path: Path | None
    source: str
    scene: str = ""
    objects: tuple[str, ...] = ()
    caption: str = ""


def check(source: str) -> None:
    """Is one entry of `ingest.sources` an S3 address or a folder that exists? Raises ParamsError."""
    if source.startswith(s3.SCHEME):
        try:
            s3.split_address(source)
        except s3.S3Error as error:
            raise params.ParamsError(f"{params.PARAMS_FILE}: ingest.sources: {error}") from None
    elif not folder_of(source).is_dir():
        raise params.ParamsError(f"{params.PARAMS_FILE}: ingest.sources: {source}: no folder {folder_of(source)}")


def folder_of(source: str) -> Path:
    return BUILTIN if source == "builtin" else Path(source).expanduser()


def find(source: str) -> list[Found]:
    """Every photo of one source, and every file that its SOURCES.csv promises, in the order of their paths.

    Photos of a bucket are fetched into `work/s3`. Raises PhotoError, S3Error.
    """
    if source.startswith(s3.SCHEME):
        return list(_in_bucket(source))
    return list(_in_folder(source, folder_of(source)))


def _in_folder(source: str, folder: Path) -> Iterator[Found]:
    rows = read_csv(folder / SOURCES_CSV, str(folder / SOURCES_CSV)) if (folder / SOURCES_CSV).is_file() else {}
    for path in sorted({*find_photos([folder]), *(folder / name for name in rows)}):
        yield _found(path.name, path, source, rows.get(path.relative_to(folder).as_posix(), {}))


def _in_bucket(source: str) -> Iterator[Found]:
    bucket, prefix = s3.split_address(source)
    client = s3.connect(bucket)
    objects = {item.key.removeprefix(prefix): item for item in s3.list_objects(client, bucket, prefix)}
    photos = {name: item for name, item in objects.items() if _is_photo(name)}
    if not photos:
        raise PhotoError(f"{source}: no photo below this prefix (looked for {', '.join(SUFFIXES)})")
    rows: dict[str, dict[str, str]] = {}
    if SOURCES_CSV in objects:
        table = s3.fetch(client, bucket, objects[SOURCES_CSV])
        rows = read_csv(table, f"{s3.SCHEME}{bucket}/{prefix}{SOURCES_CSV}")
    wanted = photos | {name: objects[name] for name in rows if name in objects}
    paths: dict[str, Path] = {}
    for name in storage.progress(sorted(wanted), len(wanted), f"fetched from {bucket}"):
        paths[name] = s3.fetch(client, bucket, wanted[name])
    for name in sorted({*wanted, *rows}):
        yield _found(PurePosixPath(name).name, paths.get(name), source, rows.get(name, {}))


def _is_photo(name: str) -> bool:
    """As in folders: a known suffix, nothing hidden."""
    return name.lower().endswith(SUFFIXES) and not any(part.startswith(".") for part in name.split("/"))


def _found(name: str, path: Path | None, source: str, row: dict[str, Any]) -> Found:
    objects = tuple(word.strip() for word in row.get("objects", "").split(";") if word.strip())
    return Found(name, path, source, row.get("scene", ""), objects, row.get("caption", ""))


def read_csv(path: Path, shown: str) -> dict[str, dict[str, str]]:
    """Rows of a SOURCES.csv by their `file`; `shown` is its name in messages. Raises PhotoError."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise PhotoError(f"{shown}: not a CSV file in UTF-8: {error}") from None
    for number, row in enumerate(rows, start=2):
        missing = [column for column in ("file", "scene", "objects", "caption") if row.get(column) is None]
        if missing:
            raise PhotoError(f"{shown}: row {number}: column {missing[0]} is missing")
        if PurePosixPath(row["file"]).is_absolute() or ".." in PurePosixPath(row["file"]).parts:
            raise PhotoError(f"{shown}: row {number}: file {row['file']!r} leads out of the folder")
        if row["scene"] and row["scene"] not in SCENES:
            raise PhotoError(f"{shown}: row {number}: scene {row['scene']!r} is none of {', '.join(SCENES)}")
    return {row["file"]: row for row in rows}
