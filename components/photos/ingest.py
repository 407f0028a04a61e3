"""Stage `ingest`: photo sources in, Parquet shards of clean, upright, distinct photos out, split by photo.

    python -m components.photos.ingest

Writes data/clean/{train,val,test}-00000.parquet (...-00001 and so on), data/clean/quarantine.parquet (what was left
out, and why), metrics/ingest.json and the ledger data/ledger.csv, which it reads first: photos that it names keep
their split and shard, new ones go to new shards. The same photos, parameters and ledger give the same bytes, in
whatever order the file system lists them. Exits 1 when the photos, a bucket or the ledger cannot be used, 2 when the
parameters are wrong.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components import params, storage, tracking
from components.photos import ledger, quality, sources
from components.photos.config import IngestParams
from components.photos.decode import PhotoError, decode
from components.photos.identity import difference_hash, distinct, photo_id, shrink
from components.photos.ledger import LEDGER, LedgerError
from components.photos.sources import Found
from components.photos.split import SPLITS, assign_splits
from components.storage import parquet, s3

CLEAN = Path("data/clean")
MIN_PHOTOS = 3  # one for each split
SCHEMA = pa.schema(
    [
        *((name, pa.large_string()) for name in ("photo_id", "name", "source", "split")),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("scene", pa.large_string()),
        ("objects", pa.list_(pa.string())),
        ("caption", pa.large_string()),
        ("image", pa.binary()),
    ]
)
QUARANTINE_SCHEMA = pa.schema([("name", pa.string()), ("source", pa.string()), ("reason", pa.string())])


def read_one(found: Found, config: IngestParams, folder: Path) -> dict:
    """The row of one photo without its picture, which goes to `folder`/<photo_id>.png. Raises PhotoError."""
    if found.path is None:
        raise PhotoError("not found")
    photo = decode(found.path, config.max_pixels)
    pixels = shrink(photo.pixels, config.longest_side_px)
    height, width = pixels.shape[:2]
    if min(height, width) < config.min_side_px:
        raise PhotoError(f"{found.path}: too small: {width}x{height}, ingest.min_side_px is {config.min_side_px}")
    complaint = quality.complaint(quality.measure(pixels, photo.pixels), config)
    if complaint:
        raise PhotoError(f"{found.path}: {complaint}")
    # of the photo as it came: the ledger must outlast a change of longest_side_px
    identity = photo_id(photo.pixels)
    picture = folder / f"{identity}.png"
    if not picture.exists():
        picture.write_bytes(storage.encode_png(pixels))
    return {
        "photo_id": identity,
        "name": found.name,
        "source": found.source,
        "width": width,
        "height": height,
        "scene": found.scene,
        "objects": list(found.objects),
        "caption": found.caption,
        "hash": difference_hash(photo.pixels),
        "area": photo.pixels.shape[0] * photo.pixels.shape[1],
    }


def share_out(rows: list[dict], config: IngestParams, places: dict[str, ledger.Place]) -> dict[str, ledger.Place]:
    """The ledger `places` with all `rows` in it. Raises PhotoError when a split has no photo."""
    recorded = {photo: place.split for photo, place in places.items()}
    scenes = {row["photo_id"]: row["scene"] for row in rows}
    splits = assign_splits(scenes, config.val_fraction, config.test_fraction, recorded)
    for split in SPLITS:
        if split not in splits.values():
            raise PhotoError(
                f"ingest: {LEDGER} leaves split {split} without any photo; add photos, or delete the ledger to share "
                "all out anew"
            )
    return ledger.extend(places, splits, config.photos_per_shard)


def write_shards(rows: list[dict], places: dict[str, ledger.Place], pictures: Path, out: Path) -> None:
    """Every row into its shard, in the order of `rows`; pictures of one row group are in memory at a time."""
    shards: dict[ledger.Place, list[dict]] = {}
    for row in rows:
        shards.setdefault(places[row["photo_id"]], []).append(row)
    for place, members in shards.items():
        groups = (members[start : start + parquet.ROW_GROUP] for start in range(0, len(members), parquet.ROW_GROUP))
        tables = (_table(group, place.split, pictures) for group in groups)
        parquet.write_parts(out, place.split, place.shard, SCHEMA, tables)


def _table(rows: list[dict], split: str, pictures: Path) -> pa.Table:
    images = [(pictures / f"{row['photo_id']}.png").read_bytes() for row in rows]
    full = [{**row, "split": split, "image": image} for row, image in zip(rows, images, strict=True)]
    return pa.Table.from_pylist(full, schema=SCHEMA)


def write_quarantine(rows: list[dict], path: Path) -> None:
    """Sorted rows name, source, reason; always there, even without any row."""
    ordered = sorted(rows, key=lambda row: (row["source"], row["name"], row["reason"]))
    with storage.whole_file(path) as part:
        pq.write_table(pa.Table.from_pylist(ordered, schema=QUARANTINE_SCHEMA), part, compression="zstd")


def read_all(config: IngestParams, pictures: Path) -> tuple[list[dict], list[dict]]:
    """Rows of every readable photo of every source, and quarantine rows of the others."""
    files = [found for source in config.sources for found in sources.find(source)]
    rows, refused = [], []
    for found in storage.progress(files, len(files), "photos"):
        try:
            rows.append(read_one(found, config, pictures))
        except PhotoError as error:
            # the shard must not depend on where the folder lies
            reason = str(error).removeprefix(f"{found.path}: ")
            refused.append({"name": found.name, "source": found.source, "reason": reason})
    return rows, refused


def ingest(config: IngestParams, out: Path = CLEAN, book: Path = LEDGER) -> dict[str, int]:
    """Fill `out` and extend the ledger `book`; returns the counts. Until all is written the former content stays.

    Raises ParamsError for a source that is not there, S3Error for a bucket, LedgerError for the ledger, PhotoError
    when fewer than MIN_PHOTOS photos are usable.
    """
    part, pictures = out.with_name(out.name + ".part"), out.with_name(out.name + ".pictures")
    places = ledger.read(book)
    try:
        for folder in (part, pictures):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        rows, quarantine = read_all(config, pictures)
        kept, duplicates = distinct(rows, places)
        quarantine += duplicates
        for row in quarantine:
            print(f"left out: {row['name']} ({row['source']}): {row['reason']}", file=sys.stderr)
        if len(kept) < MIN_PHOTOS:
            raise PhotoError(
                f"ingest: {len(kept)} usable photos in {', '.join(config.sources)}, at least {MIN_PHOTOS} are needed"
            )
        places = share_out(kept, config, places)
        write_shards(kept, places, pictures, part)
        write_quarantine(quarantine, part / "quarantine.parquet")
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)
        # last: until then the same photos would be shared out in the same way again
        ledger.write(book, places)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(pictures, ignore_errors=True)
    counts = {f"photos_{split}": sum(places[r["photo_id"]].split == split for r in kept) for split in SPLITS}
    return {**counts, "quarantined": len(quarantine), "duplicates": len(duplicates)}


def main() -> int:
    try:
        config = params.load("ingest", IngestParams)
        for source in config.sources:
            sources.check(source)
        with storage.alone_in(CLEAN.parent), tracking.stage_run("ingest", config.model_dump()) as run:
            counts = ingest(config)
            storage.write_json("metrics/ingest.json", counts)
            run.metrics({name: float(count) for name, count in counts.items()})
    except params.ParamsError as error:
        print(error, file=sys.stderr)
        return 2
    except (PhotoError, LedgerError, s3.S3Error, tracking.TrackingError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
