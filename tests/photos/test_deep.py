"""16 bits in, 16 bits out: PNG and TIFF with all that they carry, and profiles that 8-bit tools would round."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, ImageOps

from components.photos.colour import srgb_profile
from components.photos.decode import Photo, PhotoError, decode
from components.photos.encode import encode
from components.photos.orientation import canvas

HEIGHT, WIDTH = 300, 41  # more than one band of rows


def values(channels: int) -> np.ndarray:
    """Smooth in some places and not in others; every bit is used."""
    random = np.random.default_rng(channels)
    noise = random.integers(0, 65536, (HEIGHT, WIDTH, channels), np.uint16)
    noise[:, :20] = (np.arange(20) * 997)[None, :, None]
    return noise


def write(path: Path, stored: np.ndarray, **options: Any) -> None:
    """With another writer than ours."""
    if path.suffix == ".png":
        cv2.imwrite(str(path), stored[..., [2, 1, 0, 3][: stored.shape[2]]] if stored.shape[2] > 1 else stored)
    else:
        options["photometric"] = "rgb" if stored.shape[2] > 1 else "minisblack"
        if stored.shape[2] == 4:
            options["extrasamples"] = ["unassalpha"]
        tifffile.imwrite(path, stored if stored.shape[2] > 1 else stored[..., 0], **options)


def exif() -> bytes:
    block = Image.Exif()
    block[ExifTags.Base.Make] = "Camera"
    block[ExifTags.Base.Orientation] = 1
    block.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] = 400
    block.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return block.tobytes()


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_value_survives(tmp_path: Path, suffix: str, channels: int) -> None:
    stored = values(channels)
    write(tmp_path / f"a.{suffix}", stored)
    photo = decode(tmp_path / f"a.{suffix}", deep=True)
    assert (photo.bits, photo.pixels.dtype, photo.notes) == (16, np.uint16, ())
    assert np.array_equal(photo.pixels, np.broadcast_to(stored[..., :3], (HEIGHT, WIDTH, 3)))
    assert (photo.alpha is not None) == (channels == 4)
    encode(tmp_path / f"b.{suffix}", photo.pixels, photo)
    again = decode(tmp_path / f"b.{suffix}", deep=True)
    assert again.format == photo.format
    assert np.array_equal(again.pixels, photo.pixels)
    if photo.alpha is not None:
        assert np.array_equal(photo.alpha, stored[..., 3])
        assert again.alpha is not None
        assert np.array_equal(again.alpha, photo.alpha)


@pytest.mark.parametrize("channels", [3, 4])
def test_others_read_what_is_written(tmp_path: Path, channels: int) -> None:
    stored = values(channels)
    photo = Photo(stored[..., :3], stored[..., 3] if channels == 4 else None, srgb_profile(), exif(), "TIFF", 16)
    encode(tmp_path / "a.tif", photo.pixels, photo)
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), stored)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages.first
        assert page.shape == stored.shape
        assert page.tags[34665].value["ISOSpeedRatings"] == 400


def test_grey_with_alpha_is_read_from_png(tmp_path: Path) -> None:
    stored = values(2)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in stored)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 4, 0, 0, 0)), (b"IDAT", zlib.compress(raw))]
    chunks = [
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in [*parts, (b"IEND", b"")]
    ]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    photo = decode(tmp_path / "a.png", deep=True)
    assert photo.alpha is not None
    assert np.array_equal(photo.pixels[..., 1], stored[..., 0])
    assert np.array_equal(photo.alpha, stored[..., 1])


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_profile_and_exif_are_kept(tmp_path: Path, form: str) -> None:
    photo = Photo(values(3), None, srgb_profile(), exif(), form, 16)
    encode(tmp_path / "a", photo.pixels, photo)
    with Image.open(tmp_path / "a") as image:
        image.load()
        block = image.getexif()
        assert image.info["icc_profile"] == srgb_profile()
        assert block[ExifTags.Base.Make] == "Camera"
        assert block.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] == 400
        assert block.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    again = decode(tmp_path / "a", deep=True)
    assert (again.icc, again.notes) == (srgb_profile(), ())
    encode(tmp_path / "b", again.pixels, again)
    with Image.open(tmp_path / "b") as image:
        assert image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] == 400


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_files_come_out_upright(tmp_path: Path, orientation: int) -> None:
    eight = (values(3) >> 8).astype(np.uint8)
    block = Image.Exif()
    block[ExifTags.Base.Orientation] = orientation
    Image.fromarray(eight).save(tmp_path / "a.png", exif=block)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(decode(tmp_path / "a.png").pixels, expected)
    upright, stored = canvas(eight.shape, np.uint8, orientation)
    stored[:] = eight
    assert np.array_equal(upright, expected)
    write(tmp_path / "a.tif", values(3), extratags=[(274, 3, 1, orientation, True)], metadata=None)
    assert np.array_equal(decode(tmp_path / "a.tif", deep=True).pixels >> 8, expected)
    # as a camera's PNG of 16 bits
    deep = Photo(values(3), None, None, block.tobytes(), "PNG", 16)
    encode(tmp_path / "deep.png", deep.pixels, deep)
    assert np.array_equal(decode(tmp_path / "deep.png", deep=True).pixels >> 8, expected)


def test_layouts_that_are_not_read_deep_say_so(tmp_path: Path) -> None:
    four = values(4)
    tifffile.imwrite(tmp_path / "a.tif", four, photometric="separated")
    tifffile.imwrite(tmp_path / "b.tif", four, photometric="rgb", extrasamples=["assocalpha"])
    for name in ("a.tif", "b.tif"):
        photo = decode(tmp_path / name, deep=True)
        assert (photo.pixels.dtype, photo.notes) == (np.uint8, ("16 bits per channel read at 8",))


def test_torn_files_are_not_taken_for_whole_ones(tmp_path: Path) -> None:
    for suffix in ("png", "tif"):
        write(tmp_path / f"a.{suffix}", values(3))
        whole = (tmp_path / f"a.{suffix}").read_bytes()
        (tmp_path / f"a.{suffix}").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(PhotoError, match="cannot be read"):
            decode(tmp_path / f"a.{suffix}", deep=True)


def test_sixteen_bits_do_not_go_into_eight(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="JPEG holds 8 bits per channel, not 16"):
        encode(tmp_path / "a.jpg", values(3), Photo(values(3), None, None, None, "JPEG", 8))


def curve(kind: str) -> bytes:
    """A tone curve: an exponent, a table, or sRGB's own as parameters."""
    if kind == "gamma":
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256)) + bytes(2)
    if kind == "table":
        return (
            b"curv"
            + bytes(4)
            + struct.pack(">I", 1024)
            + (np.linspace(0, 1, 1024) ** 1.8 * 65535).astype(">u2").tobytes()
        )
    numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, *(round(n * 65536) for n in numbers))


def place(*xyz: float) -> bytes:
    """A colour in XYZ."""
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in xyz))


def profile(kind: str, grey: bool = False, table: bool = False) -> bytes:
    """A profile of Adobe RGB's primaries (under D50) and some curve; `table` adds one that would overrule them."""
    colorants = {
        b"rXYZ": (0.60974, 0.31111, 0.01947),
        b"gXYZ": (0.20528, 0.62567, 0.06087),
        b"bXYZ": (0.14919, 0.06322, 0.74457),
    }
    xyz = {
        name: b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in c)) for name, c in colorants.items()
    }
    tags = {b"kTRC": curve(kind)} if grey else {**xyz, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(kind))}
    tags[b"wtpt"] = place(0.9642, 1.0, 0.8249)
    tags[b"desc"] = b"desc" + bytes(4) + struct.pack(">I", 5) + b"Wide\0" + bytes(78)
    if table:
        tags[b"A2B0"] = b"mft2" + bytes(44)
    body, listing = b"", b""
    for name, data in tags.items():
        listing += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = 132 + len(listing) + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", b"GRAY" if grey else b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + listing + body


@pytest.mark.parametrize("kind", ["gamma", "table", "parameters"])
def test_a_wide_profile_is_undone_as_littlecms_does_it(tmp_path: Path, kind: str) -> None:
    eight = np.random.default_rng(0).integers(60, 190, (40, 50, 3), np.uint8)
    write(tmp_path / "a.tif", eight.astype(np.uint16) * 257, iccprofile=profile(kind))
    photo = decode(tmp_path / "a.tif", deep=True)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile(kind)))
    expected = ImageCms.profileToProfile(Image.fromarray(eight), source, ImageCms.createProfile("sRGB"))
    assert np.abs(photo.pixels / 257 - np.asarray(expected)).max() < 1.1
    assert not photo.own_colours
    encode(tmp_path / "b.tif", photo.pixels, photo)
    assert decode(tmp_path / "b.tif", deep=True).icc == srgb_profile()


def test_colours_that_srgb_has_not_are_clipped_and_counted(tmp_path: Path) -> None:
    green = np.zeros((10, 10, 3), np.uint16)
    green[:, 5:, 1] = 60000
    write(tmp_path / "a.tif", green, iccprofile=profile("gamma"))
    photo = decode(tmp_path / "a.tif", deep=True)
    assert photo.notes == ("colours outside of sRGB were clipped (50% of the pixels)",)


def test_grey_under_its_own_curve(tmp_path: Path) -> None:
    grey = np.full((9, 9, 1), 30000, np.uint16)
    write(tmp_path / "a.tif", grey, iccprofile=profile("gamma", grey=True))
    light = (30000 / 65535) ** (563 / 256)
    expected = (1.055 * light ** (1 / 2.4) - 0.055) * 65535
    assert np.abs(decode(tmp_path / "a.tif", deep=True).pixels - expected).max() < 2


def test_a_profile_of_tables_keeps_its_colours_and_its_place(tmp_path: Path) -> None:
    stored, icc = values(3), profile("gamma", table=True)
    write(tmp_path / "a.tif", stored, iccprofile=icc)
    photo = decode(tmp_path / "a.tif", deep=True)
    assert np.array_equal(photo.pixels, stored)
    assert photo.notes == ("colour profile 'Wide' is a table: restored in its own colours",)
    encode(tmp_path / "b.tif", photo.pixels, photo)
    again = decode(tmp_path / "b.tif", deep=True)
    assert again.icc == icc
    assert np.array_equal(again.pixels, stored)
