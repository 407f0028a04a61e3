"""How data lies: files written whole or not at all, images as bytes, digests, and locks; tables in parquet.py."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from tqdm import tqdm

T = TypeVar("T")


class DamagedError(OSError):
    """A file is not what was once written; one line with its name and the command that mends it."""


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Write to the path this yields; on success it is moved to `path` in one step, else nothing is left."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        # a power cut after the move must not leave a name without its bytes
        with open(name, "rb") as file:
            os.fsync(file.fileno())
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Fill the folder this yields; on success it takes the place of `path`, else the former content stays."""
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        shutil.rmtree(path, ignore_errors=True)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_json(path: str | Path, value: object) -> None:
    """Sorted, indented JSON with floats rounded to 6 digits: the same value gives the same bytes."""
    with whole_file(path) as part:
        part.write_text(json.dumps(_six_digits(value), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _six_digits(value):
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {k: _six_digits(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_six_digits(v) for v in value]
    return value


def encode_png(image: np.ndarray) -> bytes:
    """Lossless bytes of an (H, W, 3) uint8 image."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def decode_image(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8 from the bytes of a PNG that this module wrote."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def move_sealed(part: Path, path: Path) -> None:
    """Give a finished file its name, its digest first, in a hidden file: a later run may take it as it is."""
    with whole_file(_seal_of(path)) as seal:
        seal.write_text(_sha256(part) + "\n", encoding="utf-8")
    os.replace(part, path)


def is_sealed(path: Path) -> bool:
    """Whether the file is there with the bytes that were sealed."""
    seal = _seal_of(path)
    return path.exists() and seal.exists() and seal.read_text(encoding="utf-8").strip() == _sha256(path)


def _seal_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.sha256")


def _sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_whole_archive(path: str | Path) -> bool:
    """Whether a file of `torch.save`, a zip archive with a checksum for each tensor, is what was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, OSError):
        return False


def drop_damaged(archives: list[Path]) -> None:
    """Remove the checkpoints that are not whole, a line for each: what is left can be taken up."""
    for path in archives:
        if not is_whole_archive(path):
            print(f"{path}: this checkpoint is damaged and removed; going on without it", flush=True)
            path.unlink()


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """The items, with a bar on a terminal and a line every tenth of the way in a log."""
    with tqdm(items, total=total, desc=label, mininterval=1.0, disable=None) as bar:
        for number, item in enumerate(bar, start=1):
            yield item
            if bar.disable and (number == total or number % max(1, total // 4) == 0):
                print(f"{label}: {number} of {total}", file=sys.stderr, flush=True)


def digest_inputs(parameters: dict, paths: list[str]) -> str:
    """16 hex digits of parameters and of every file below `paths`: names the work folder of a training."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    for top in paths:
        for path in sorted(p for p in [Path(top), *Path(top).rglob("*")] if p.is_file()):
            digest.update(path.as_posix().encode())
            digest.update(bytes.fromhex(_sha256(path)))
    return digest.hexdigest()[:16]


def digests_of(folder: Path) -> dict[str, str]:
    """Path below the folder -> SHA-256, for every file in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


@contextlib.contextmanager
def only_one(folder: str | Path) -> Iterator[int]:
    """Hold the lock of a work folder; waits for a process that a killed parent left behind.

    Yields the lock's file descriptor: a child that inherits it keeps the lock as long as it lives.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        _wait_for(lock.fileno(), folder)
        yield lock.fileno()


@contextlib.contextmanager
def alone_in(folder: str | Path) -> Iterator[None]:
    """As `only_one`, by a lock on the folder itself: nothing is written into it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        # over NFS a folder cannot be locked
        with contextlib.suppress(OSError):
            _wait_for(handle, folder)
        yield
    finally:
        os.close(handle)


def _wait_for(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{folder}: another process holds it; waiting", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
