"""The files inside software packages, read without unpacking: wheels, npm tarballs, .deb files, Qt resource files."""

from __future__ import annotations

import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

RCC_DIRECTORY, RCC_ZLIB, RCC_ZSTD = 2, 1, 4  # flags of a node of a Qt resource file
MOST_BYTES = 512_000_000  # of one file in an archive; the largest in the packages listed is a tenth of that
T = TypeVar("T")
# what reading a damaged archive raises
UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ValueError,
    OSError,
    EOFError,
)


def files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file in a package: a wheel, an npm tarball or a .deb, Qt resource files opened.

    Paths are those that SOURCES.csv uses: without npm's `package/`, and inside resources without `gcompris/`.
    """
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for item in wheel.infolist():
                if not item.is_dir():
                    # what zipfile unpacks never exceeds the size that the archive states
                    yield item.filename, wheel.read(_bounded(item, item.filename, item.file_size))
        return
    with tarfile.open(fileobj=io.BytesIO(_tar_bytes(archive))) as tar:
        for member in tar:
            _bounded(member, member.name, member.size)
            data = tar.extractfile(member).read() if member.isfile() else None  # type: ignore[union-attr]
            if data is None:
                continue
            path = member.name.removeprefix("./").removeprefix("package/")
            yield path, data
            if path.endswith(".rcc"):
                yield from ((name.removeprefix("gcompris/"), inside) for name, inside in resources(data))


def _bounded(item: T, name: str, size: int) -> T:
    """The item, unless it would fill the memory. Raises ValueError."""
    if size > MOST_BYTES:
        raise ValueError(f"{name} in it has {size} bytes, at most {MOST_BYTES} are unpacked")
    return item


def _inflated(data: bytes, name: str) -> bytes:
    inflater = zlib.decompressobj()
    content = inflater.decompress(data, MOST_BYTES)
    _bounded(content, name, len(content) + len(inflater.unconsumed_tail))
    return content


def _tar_bytes(archive: Path) -> bytes:
    """The tarball itself, or the one that a .deb (an `ar` file of three parts) keeps as `data.tar.*`."""
    data = archive.read_bytes()
    if archive.suffix != ".deb":
        return data
    at = len(b"!<arch>\n")
    while at < len(data):
        name, size = data[at : at + 16].decode("ascii").strip(), int(data[at + 48 : at + 58])
        if name.startswith("data.tar"):
            return data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise ValueError("no data.tar in it")


def resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file in the bytes of a Qt resource file (.rcc, versions 1 to 3)."""
    magic, version, tree, contents, names = struct.unpack_from(">4s4I", data)
    if magic != b"qres":
        raise ValueError("a .rcc file in it is no Qt resource file")
    node = 14 if version == 1 else 22  # bytes; from version 2 on with a date

    def below(index: int, folder: str) -> Iterator[tuple[str, bytes]]:
        name_at, flags = struct.unpack_from(">IH", data, tree + index * node)
        name_at += names
        letters = struct.unpack_from(">H", data, name_at)[0]  # UTF-16 units, after them 4 bytes of hash
        path = folder + (data[name_at + 6 : name_at + 6 + 2 * letters].decode("utf-16-be") if index else "")
        if flags & RCC_DIRECTORY:
            count, first = struct.unpack_from(">II", data, tree + index * node + 6)
            for child in range(first, first + count):
                yield from below(child, f"{path}/" if path else "")
            return
        start = contents + struct.unpack_from(">I", data, tree + index * node + 10)[0]
        content = data[start + 4 : start + 4 + struct.unpack_from(">I", data, start)[0]]
        if not flags & RCC_ZSTD:
            # Qt writes the unpacked size, 4 bytes, before what zlib made
            yield path, _inflated(content[4:], path) if flags & RCC_ZLIB else content

    yield from below(0, "")
