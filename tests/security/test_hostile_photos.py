"""Files made to harm: bombs, metadata without end, names that lead elsewhere. Each costs one line and no time."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from components.photos import archives, sources
from components.photos.decode import MOST_EXIF_BYTES, PhotoError, decode
from components.photos.encode import encode
from tests.rnr.conftest import models, photo, place, run  # noqa: F401  (fixtures)

SECONDS = 20.0  # for one file, on a busy machine; what these files aim at is minutes or the whole memory


def png(*chunks: tuple[bytes, bytes], side: int = 8) -> bytes:
    """A grey PNG of 8 x 8 pixels that claims to have `side` x `side`, with chunks before its pixels."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * 3 * 8) * 8)
    made = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", head), *chunks, (b"IDAT", rows), (b"IEND", b"")):
        made += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return made


def jpeg(*segments: tuple[int, bytes]) -> bytes:
    """A JPEG of one colour with APP segments behind its start."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (90, 120, 150)).save(buffer, "JPEG")
    whole = buffer.getvalue()
    extra = b"".join(b"\xff" + bytes([0xE0 + n]) + struct.pack(">H", len(data) + 2) + data for n, data in segments)
    return whole[:2] + extra + whole[2:]


def tiff_directories(count: int) -> bytes:
    """A TIFF whose first picture is followed by `count` empty directories."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 77).save(buffer, "TIFF")
    data = bytearray(buffer.getvalue())
    first = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12 * entries, len(data))
    start = len(data)
    return bytes(data) + b"".join(struct.pack("<HI", 0, start + 6 * (i + 1)) for i in range(count))


def exif_loop() -> bytes:
    """EXIF whose sub-directory is itself."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 8)


BOMB = zlib.compress(b"\0" * 300_000_000, 9)
HOSTILE = {
    # name -> bytes, and whether a photo comes out all the same
    "text-bomb.png": (png((b"zTXt", b"Comment\0\0" + BOMB)), False),
    "xmp-bomb.png": (png((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB)), False),
    "profile-bomb.png": (png((b"iCCP", b"icc\0\0" + BOMB)), False),
    "profile-noise.png": (png((b"iCCP", b"icc\0\0" + zlib.compress(os.urandom(4000)))), True),
    "exif-noise.png": (png((b"eXIf", os.urandom(3000))), True),
    "exif-loop.jpg": (jpeg((1, exif_loop())), True),
    "exif-offsets.jpg": (jpeg((1, b"Exif\0\0MM\0*" + b"\xff" * 60_000)), True),
    "profile-parts.jpg": (jpeg(*((2, b"ICC_PROFILE\0\1\xff" + b"x" * 65_000) for _ in range(200))), True),
    "xmp-entities.jpg": (
        jpeg(
            (
                1,
                b"http://ns.adobe.com/xap/1.0/\0"
                + b'<!DOCTYPE a [<!ENTITY b "'
                + b"c" * 9000
                + b'">]>'
                + b"&b;" * 9000,
            )
        ),
        True,
    ),
    "directories.tif": (tiff_directories(400_000), True),
    "pixels.png": (png(side=60_000), False),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_photo_is_read_soon_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    data, survives = HOSTILE[name]
    (tmp_path / name).write_bytes(data)
    began = time.monotonic()
    for deep in (False, True):
        if survives:
            seen = decode(tmp_path / name, deep=deep)
            encode(tmp_path / "out" / name, seen.pixels, seen)
            assert decode(tmp_path / "out" / name).pixels.shape == seen.pixels.shape
        else:
            with pytest.raises(PhotoError) as caught:
                decode(tmp_path / name, deep=deep)
            assert str(caught.value).startswith(str(tmp_path / name))
            assert "\n" not in str(caught.value)
    assert time.monotonic() - began < SECONDS


def test_more_exif_than_a_jpeg_holds_is_left_out_with_a_note(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * (MOST_EXIF_BYTES + 1)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", exif=exif)
    seen = decode(tmp_path / "a.webp")
    assert seen.exif is None
    assert any("EXIF of" in note and "left out" in note for note in seen.notes)
    encode(tmp_path / "b.webp", seen.pixels, seen)


def test_devices_and_pipes_are_no_photos(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero")):
        with pytest.raises(PhotoError, match="empty"):
            decode(path)


def test_a_bad_photo_costs_the_others_nothing(place: Path, models, photo, capsys) -> None:  # noqa: F811
    photo(place / "in/good.jpg")
    for name, (data, _) in HOSTILE.items():
        (place / "in" / name).write_bytes(data)
    refused = sum(not survives for _, survives in HOSTILE.values())
    assert run("restore", "in", "-o", "out", "--json") == 1
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1 + len(HOSTILE) - refused
    assert len(told.err.splitlines()) == refused


# --- names and places ---


def test_links_in_the_output_folder_do_not_lead_out_of_it(place: Path, models, photo, capsys) -> None:  # noqa: F811
    photo(place / "in/sub/a.jpg")
    (place / "elsewhere").mkdir()
    (place / "out").mkdir()
    (place / "out/sub").symlink_to(place / "elsewhere")
    for command in (["restore", "in", "-o", "out"], ["synthesize", "in", "-o", "out", "--add", "haze=50"]):
        assert run(*command) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "leads out of out" in said
    assert not list((place / "elsewhere").iterdir())
    # a link where the file itself goes is replaced, not followed
    (place / "out/sub").unlink()
    (place / "out/sub").mkdir()
    (place / "victim").write_text("untouched", encoding="utf-8")
    (place / "out/sub/a.jpg").symlink_to(place / "victim")
    assert run("restore", "in", "-o", "out") == 0
    assert (place / "victim").read_text(encoding="utf-8") == "untouched"
    assert not (place / "out/sub/a.jpg").is_symlink()


def test_names_cannot_speak_to_the_terminal(place: Path, models, photo, capsys) -> None:  # noqa: F811
    nasty = "a\x1b]0;owned\x07\nb.jpg"
    photo(place / "in" / nasty)
    (place / "in" / os.fsdecode(b"\xff.jpg")).write_bytes(b"no photo")
    assert run("restore", "in", "-o", "out") == 1
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert "a\\x1b]0;owned\\x07\\nb.jpg" in told.out
    assert told.err.isprintable() or told.err.rstrip("\n").isprintable()
    assert run("restore", "in", "-o", "out2", "--json") == 1
    (row,) = capsys.readouterr().out.splitlines()
    assert json.loads(row)["path"] == f"in/{nasty}"


@pytest.mark.parametrize("edit", ["../../x=5", "haze=5;rm", "haze=nan", "haze=1e999", "=5", "haze=-1", "__class__=3"])
def test_edits_are_types_and_numbers_only(edit: str, place: Path, models, photo, capsys) -> None:  # noqa: F811
    photo(place / "a.jpg")
    assert run("restore", "a.jpg", "-o", "out", "--edit", edit) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (place / "out").exists()


@pytest.mark.parametrize("name", ["../private.jpg", "/etc/hostname", "a/../../private.jpg"])
def test_a_list_of_photos_names_only_its_own_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "SOURCES.csv").write_text(f"file,scene,objects,caption\n{name},,,\n", encoding="utf-8")
    with pytest.raises(PhotoError, match=r"row 2: file .* leads out of the folder"):
        sources.find(str(tmp_path))


def test_archives_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 1_000_000)
    with zipfile.ZipFile(tmp_path / "a.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("bomb", b"\0" * 2_000_000)
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        member = tarfile.TarInfo("package/bomb")
        member.size = 2_000_000
        tar.addfile(member, io.BytesIO(b"\0" * member.size))
    for path in (tmp_path / "a.whl", tmp_path / "a.tgz"):
        with pytest.raises(ValueError, match="bomb in it has 2000000 bytes, at most 1000000 are unpacked"):
            list(archives.files(path))
    with pytest.raises(ValueError, match="at most 1000000 are unpacked"):
        archives._inflated(zlib.compress(b"\0" * 2_000_000), "bomb")
    assert archives._inflated(zlib.compress(b"abc"), "fine") == b"abc"


def test_an_archive_writes_nothing_by_its_own_names(tmp_path: Path) -> None:
    """Names inside are only compared with the list; what is written is named by the list, which takes plain names."""
    from components.photos import packages

    head = ",".join(packages.COLUMNS)
    for name in ("../x.jpg", "/x.jpg", "a/x.jpg"):
        values = dict.fromkeys(packages.COLUMNS, "x") | {"file": name, "client": next(iter(packages.CLIENTS))}
        row = ",".join(values[column] for column in packages.COLUMNS)
        (tmp_path / "SOURCES.csv").write_text(f"{head}\n{row}\n", encoding="utf-8")
        with pytest.raises(packages.PackageError, match="no plain name"):
            packages.read(tmp_path / "SOURCES.csv")


def test_a_pixel_bomb_in_a_served_model_is_an_error_of_one_line() -> None:
    from components.serving.pyfunc_model import photo_bytes

    with pytest.raises(PhotoError, match="over the limit") as caught:
        decode(photo_bytes(HOSTILE["pixels.png"][0]))
    assert "\n" not in str(caught.value)
