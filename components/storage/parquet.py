"""Tables in shards, `<directory>/<split>-<index>.parquet`: written whole or not at all, read with a clear word.

Apart from the files of components/storage, since who only restores photos need not load pandas and Arrow for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.storage import DamagedError, whole_file

ROW_GROUP = 64  # rows


def write(directory: str | Path, split: str, index: int, rows: list[dict] | pd.DataFrame) -> Path:
    """Rows as `<directory>/<split>-<index>.parquet`, whole or absent, byte-stable."""
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    return write_parts(directory, split, index, table.schema, [table])


def write_parts(directory: str | Path, split: str, index: int, schema: pa.Schema, parts: Iterable[pa.Table]) -> Path:
    """As `write`, from tables that need not be in memory together."""
    path = Path(directory) / f"{split}-{index:05d}.parquet"
    with whole_file(path) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for table in parts:
            # images are compressed already; small row groups keep readers' memory flat
            writer.write_table(table, row_group_size=ROW_GROUP)
    return path


def paths(directory: str | Path, split: str) -> list[Path]:
    """The shards of one split in order. Raises FileNotFoundError when there is none."""
    found = sorted(Path(directory).glob(f"{split}-*.parquet"))
    if not found:
        raise FileNotFoundError(f"{directory}: no shard {split}-*.parquet; run `dvc repro` first")
    return found


def read_split(directory: str | Path, split: str, columns: list[str] | None = None) -> pd.DataFrame:
    """All rows of one split ("train", "val", "test"), in shard order."""
    frames = [read(path, columns) for path in paths(directory, split)]
    return pd.concat(frames, ignore_index=True)


def read(path: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """The rows of one shard. Raises DamagedError when it is torn or overwritten."""
    with readable(path):
        return pd.read_parquet(path, columns=columns)


def count_rows(path: str | Path) -> int:
    """How many rows a shard has. Raises DamagedError."""
    with readable(path):
        return pq.read_metadata(path).num_rows


@contextlib.contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """What Arrow says of a broken file becomes a DamagedError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DamagedError(
            f"{path}: damaged ({reason}); delete the file, `dvc repro` then fetches it from the cache or makes it again"
        ) from None


def training_paths(*directories: str | Path) -> list[str]:
    """The train and val shards of some folders: all that a training sees, test pairs are none of its business."""
    return [str(path) for top in directories for split in ("train", "val") for path in paths(top, split)]
