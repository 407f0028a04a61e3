"""Stage `ingest`: photo sources in, Parquet shards of clean, upright, distinct photos out, split by photo.

    python -m components.photos.ingest

Writes data/clean/{train,val,test}-00000.parquet (...-00001 and so on), data/clean/quarantine.parquet (what was left
out, and why) and metrics/ingest.json. The same photos and parameters give the same bytes, in whatever order the file
system lists them. Exits 1 when fewer than MIN_PHOTOS photos are usable, 2 when the parameters are wrong.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pydantic import Field

from components import params, storage, tracking
from components.diagnosis import SCENES
from components.photos.decode import PhotoError, decode, find_photos
from components.photos.split import SPLITS, assign_splits

CLEAN, BUILTIN = Path("data/clean"), Path("data/photos")
SOURCES_CSV = "SOURCES.csv"
MIN_PHOTOS = 3  # one for each split
# Bits of the 64-bit difference hash by which two shots of one picture may differ (sizes, recompression).
NEAR_DUPLICATE_BITS = 4
COLUMNS = ["photo_id", "name", "source", "split", "width", "height", "scene", "objects", "caption", "image"]
QUARANTINE_SCHEMA = pa.schema([("name", pa.string()), ("source", pa.string()), ("reason", pa.string())])


class IngestParams(params.Section):
    """Section `ingest`. A source is "builtin" (data/photos) or a folder; sizes in pixels; fractions of all photos."""

    sources: list[str] = Field(min_length=1)
    longest_side_px: int = Field(ge=64)
    min_side_px: int = Field(ge=16)
    val_fraction: float = Field(gt=0, le=0.4)
    test_fraction: float = Field(gt=0, le=0.5)
    photos_per_shard: int = Field(ge=1)
    max_pixels: int = Field(ge=1)


@dataclass(frozen=True)
class Found:
    """One file of a source, with what its SOURCES.csv says of it (empty where there is none)."""

    path: Path
    source: str
    scene: str = ""
    objects: tuple[str, ...] = ()
    caption: str = ""


def source_folder(source: str) -> Path:
    """The folder behind one entry of `ingest.sources`. Raises ParamsError."""
    if source.startswith("s3://"):
        raise params.ParamsError(
            f"{params.PARAMS_FILE}: ingest.sources: {source}: S3 sources are not there yet; copy the photos to a folder"
        )
    folder = BUILTIN if source == "builtin" else Path(source).expanduser()
    if not folder.is_dir():
        raise params.ParamsError(f"{params.PARAMS_FILE}: ingest.sources: {source}: no folder {folder}")
    return folder


def read_sources(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of the folder's SOURCES.csv by their `file`; empty where there is none. Raises PhotoError."""
    path = folder / SOURCES_CSV
    if not path.is_file():
        return {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise PhotoError(f"{path}: not a CSV file in UTF-8: {error}") from None
    for number, row in enumerate(rows, start=2):
        missing = [column for column in ("file", "scene", "objects", "caption") if row.get(column) is None]
        if missing:
            raise PhotoError(f"{path}: row {number}: column {missing[0]} is missing")
        if row["scene"] and row["scene"] not in SCENES:
            raise PhotoError(f"{path}: row {number}: scene {row['scene']!r} is none of {', '.join(SCENES)}")
    return {row["file"]: row for row in rows}


def list_source(source: str) -> list[Found]:
    """Every photo of one source, and every file that its SOURCES.csv promises."""
    folder = source_folder(source)
    rows = read_sources(folder)
    paths = set(find_photos([folder])) | {folder / name for name in rows}
    found = []
    for path in sorted(paths):
        row = rows.get(path.relative_to(folder).as_posix(), {})
        objects = tuple(word.strip() for word in row.get("objects", "").split(";") if word.strip())
        found.append(Found(path, source, row.get("scene", ""), objects, row.get("caption", "")))
    return found


def shrink(pixels: np.ndarray, longest_side: int) -> np.ndarray:
    """(H, W, 3) uint8 with its longer side at most `longest_side`; never enlarged."""
    height, width = pixels.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def photo_id(pixels: np.ndarray) -> str:
    """12 hex digits that name a picture by its content, not by its file."""
    digest = hashlib.sha256(f"{pixels.shape[1]}x{pixels.shape[0]}".encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()[:12]


def difference_hash(pixels: np.ndarray) -> int:
    """64 bits: is each of 8x8 grey cells darker than its right neighbour? Survives scaling and recompression."""
    cells = np.asarray(Image.fromarray(pixels).convert("L").resize((9, 8), Image.Resampling.BOX))
    return int("".join("1" if bit else "0" for bit in (cells[:, 1:] > cells[:, :-1]).ravel()), 2)


def read_one(found: Found, config: IngestParams, folder: Path) -> dict:
    """The row of one photo without its picture, which goes to `folder`/<photo_id>.png. Raises PhotoError."""
    photo = decode(found.path, config.max_pixels)
    pixels = shrink(photo.pixels, config.longest_side_px)
    height, width = pixels.shape[:2]
    if min(height, width) < config.min_side_px:
        raise PhotoError(f"{found.path}: too small: {width}x{height}, ingest.min_side_px is {config.min_side_px}")
    identity = photo_id(pixels)
    picture = folder / f"{identity}.png"
    if not picture.exists():
        picture.write_bytes(storage.encode_png(pixels))
    return {
        "photo_id": identity,
        "name": found.path.name,
        "source": found.source,
        "width": width,
        "height": height,
        "scene": found.scene,
        "objects": list(found.objects),
        "caption": found.caption,
        "hash": difference_hash(pixels),
    }


def distinct(rows: list[dict]) -> tuple[list[dict], list[dict]]:
    """The rows to keep, in the order of photo_id, and the quarantine rows of their duplicates.

    Of near duplicates the largest is kept, one with a known scene before one without; files are not compared by
    their place in a listing.
    """
    best_first = sorted(
        rows, key=lambda r: (-r["width"] * r["height"], r["scene"] == "", r["photo_id"], r["name"], r["source"])
    )
    kept: list[dict] = []
    dropped: list[dict] = []
    for row in best_first:
        twin = next((k for k in kept if (k["hash"] ^ row["hash"]).bit_count() <= NEAR_DUPLICATE_BITS), None)
        if twin is None:
            kept.append(row)
            continue
        kind = "duplicate" if twin["photo_id"] == row["photo_id"] else "near duplicate"
        dropped.append({"name": row["name"], "source": row["source"], "reason": f"{kind} of {twin['name']}"})
    return sorted(kept, key=lambda row: row["photo_id"]), dropped


def write_split(rows: list[dict], split: str, config: IngestParams, pictures: Path, out: Path) -> None:
    """Shards of one split, `photos_per_shard` photos each."""
    for index, start in enumerate(range(0, len(rows), config.photos_per_shard)):
        part = rows[start : start + config.photos_per_shard]
        images = [(pictures / f"{row['photo_id']}.png").read_bytes() for row in part]
        frame = pd.DataFrame([{**row, "image": image} for row, image in zip(part, images, strict=True)])[COLUMNS]
        # named outright: a shard whose photos have no objects at all would else lose the type of the column
        frame["objects"] = frame["objects"].astype(pd.ArrowDtype(pa.list_(pa.string())))
        storage.write_shard(out, split, index, frame)


def write_quarantine(rows: list[dict], path: Path) -> None:
    """Sorted rows name, source, reason; always there, even without any row."""
    ordered = sorted(rows, key=lambda row: (row["source"], row["name"], row["reason"]))
    with storage.whole_file(path) as part:
        pq.write_table(pa.Table.from_pylist(ordered, schema=QUARANTINE_SCHEMA), part, compression="zstd")


def read_all(config: IngestParams, pictures: Path) -> tuple[list[dict], list[dict]]:
    """Rows of every readable photo of every source, and quarantine rows of the others."""
    files = [found for source in config.sources for found in list_source(source)]
    rows, refused = [], []
    for found in storage.progress(files, len(files), "photos"):
        try:
            rows.append(read_one(found, config, pictures))
        except PhotoError as error:
            # the shard must not depend on where the folder lies
            reason = str(error).removeprefix(f"{found.path}: ")
            refused.append({"name": found.path.name, "source": found.source, "reason": reason})
    return rows, refused


def ingest(config: IngestParams, out: Path = CLEAN) -> dict[str, int]:
    """Fill `out`; returns the counts. Until all is written the former content stays.

    Raises ParamsError for a source that is not there, PhotoError when fewer than MIN_PHOTOS photos are usable.
    """
    part, pictures = out.with_name(out.name + ".part"), out.with_name(out.name + ".pictures")
    try:
        for folder in (part, pictures):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        rows, quarantine = read_all(config, pictures)
        kept, duplicates = distinct(rows)
        quarantine += duplicates
        for row in quarantine:
            print(f"left out: {row['name']} ({row['source']}): {row['reason']}", file=sys.stderr)
        if len(kept) < MIN_PHOTOS:
            raise PhotoError(
                f"ingest: {len(kept)} usable photos in {', '.join(config.sources)}, at least {MIN_PHOTOS} are needed"
            )
        splits = assign_splits({r["photo_id"]: r["scene"] for r in kept}, config.val_fraction, config.test_fraction)
        for split in SPLITS:
            chosen = [{**row, "split": split} for row in kept if splits[row["photo_id"]] == split]
            write_split(chosen, split, config, pictures, part)
        write_quarantine(quarantine, part / "quarantine.parquet")
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(pictures, ignore_errors=True)
    counts = {f"photos_{split}": sum(splits[r["photo_id"]] == split for r in kept) for split in SPLITS}
    return {**counts, "quarantined": len(quarantine), "duplicates": len(duplicates)}


def main() -> int:
    try:
        config = params.load("ingest", IngestParams)
        for source in config.sources:
            source_folder(source)
        with tracking.stage_run("ingest", config.model_dump()) as run:
            counts = ingest(config)
            storage.write_json("metrics/ingest.json", counts)
            run.metrics({name: float(count) for name, count in counts.items()})
    except params.ParamsError as error:
        print(error, file=sys.stderr)
        return 2
    except (PhotoError, tracking.TrackingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
