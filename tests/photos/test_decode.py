"""Every kind of file that people have, and every kind of broken one: in and out again."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms

from components.photos.colour import srgb_profile
from components.photos.decode import Photo, PhotoError, decode, find_photos
from components.photos.encode import encode

ROTATED_90 = 6  # EXIF: the camera was held upright, the top of the scene is at the right of the stored picture


def scene(height: int = 40, width: int = 60) -> np.ndarray:
    """Smooth colours, so that lossy formats stay near them."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(np.uint8)


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Camera"
    return exif


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_orientation_is_applied_and_reset(tmp_path: Path, suffix: str) -> None:
    stored = scene()
    Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=exif_of(ROTATED_90), quality=95)
    photo = decode(tmp_path / f"a.{suffix}")
    assert photo.pixels.shape == (60, 40, 3)
    assert difference(photo.pixels, np.rot90(stored, -1)) < 4
    encode(tmp_path / f"b.{suffix}", photo.pixels, photo)
    again = decode(tmp_path / f"b.{suffix}")
    assert again.pixels.shape == photo.pixels.shape
    with Image.open(tmp_path / f"b.{suffix}") as image:
        assert image.format == photo.format
        assert image.getexif()[ExifTags.Base.Orientation] == 1
        assert image.getexif()[ExifTags.Base.Make] == "Camera"


@pytest.mark.parametrize(("suffix", "lossless"), [("png", True), ("tif", True), ("bmp", True), ("jpg", False)])
def test_pixels_survive_a_round_trip(tmp_path: Path, suffix: str, lossless: bool) -> None:
    Image.fromarray(scene()).save(tmp_path / f"a.{suffix}")
    photo = decode(tmp_path / f"a.{suffix}")
    encode(tmp_path / f"b.{suffix}", photo.pixels, photo)
    assert difference(decode(tmp_path / f"b.{suffix}").pixels, photo.pixels) <= (0 if lossless else 1.5)


def test_jpeg_is_written_without_colour_subsampling(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.jpg")
    photo = decode(tmp_path / "a.jpg")
    encode(tmp_path / "b.jpg", photo.pixels, photo)
    with Image.open(tmp_path / "b.jpg") as image:
        assert [part[1:3] for part in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "RGB"])
def test_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    file = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image = Image.fromarray(scene()).convert(mode)
    image.save(file)
    photo = decode(file)
    assert photo.pixels.shape == (40, 60, 3)
    assert photo.pixels.dtype == np.uint8
    assert photo.alpha is None
    assert difference(photo.pixels, np.asarray(image.convert("RGB"))) < 4


@pytest.mark.parametrize(
    ("mode", "suffix"), [("LA", "png"), ("RGBA", "png"), ("RGBA", "webp"), ("LA", "tif"), ("RGBA", "tif")]
)
def test_alpha_is_kept_apart_and_written_back(tmp_path: Path, mode: str, suffix: str) -> None:
    alpha = (scene()[..., 0] // 2).astype(np.uint8)
    image = Image.fromarray(scene()).convert(mode)
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / f"a.{suffix}", lossless=True)  # only WebP listens
    photo = decode(tmp_path / f"a.{suffix}")
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha, alpha)
    encode(tmp_path / f"b.{suffix}", photo.pixels, photo)
    again = decode(tmp_path / f"b.{suffix}")
    assert again.alpha is not None
    assert np.array_equal(again.alpha, alpha)
    assert difference(again.pixels, photo.pixels) <= (3 if suffix == "webp" else 0)


def test_transparent_palette_keeps_its_alpha(tmp_path: Path) -> None:
    image = Image.fromarray(scene()).quantize(8)
    image.save(tmp_path / "a.png", transparency=0)
    photo = decode(tmp_path / "a.png")
    assert photo.alpha is not None
    assert set(np.unique(photo.alpha)) == {0, 255}


def test_a_photo_of_several_bands_is_converted_as_one(tmp_path: Path) -> None:
    tall = scene(1000, 30)
    Image.fromarray(tall).save(tmp_path / "a.png", exif=exif_of(ROTATED_90))
    assert np.array_equal(decode(tmp_path / "a.png").pixels, np.rot90(tall, -1))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_read_at_eight_and_says_so(tmp_path: Path, suffix: str) -> None:
    grey = scene()[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / f"a.{suffix}")
    photo = decode(tmp_path / f"a.{suffix}")
    assert photo.bits == 16
    assert photo.notes == ("16 bits per channel read at 8",)
    assert np.array_equal(photo.pixels, np.repeat(grey[..., None], 3, 2))


def test_sixteen_bit_colour_tiff_is_read_at_eight_and_says_so(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", scene().astype(np.uint16) * 257, photometric="rgb")
    photo = decode(tmp_path / "a.tif")
    assert (photo.bits, photo.notes) == (16, ("16 bits per channel read at 8",))
    assert difference(photo.pixels, scene()) <= 1


def test_colours_are_converted_to_srgb(tmp_path: Path) -> None:
    """A file in Lab says the same colours in other numbers; the profile that leads back is used."""
    lab = ImageCms.profileToProfile(
        Image.fromarray(scene()), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    lab.save(tmp_path / "lab.tif", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())
    assert difference(decode(tmp_path / "lab.tif").pixels, scene()) < 4
    # a profile for another colour space than that of the pixels is no guide
    Image.fromarray(scene()).save(tmp_path / "xyz.png", icc_profile=linear)
    photo = decode(tmp_path / "xyz.png")
    assert np.array_equal(photo.pixels, scene())
    assert "ignored" in photo.notes[0]


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_srgb_profile_changes_no_pixel_and_is_kept(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(scene()).save(tmp_path / f"a.{suffix}", icc_profile=srgb_profile(), quality=95, lossless=True)
    photo = decode(tmp_path / f"a.{suffix}")
    assert difference(photo.pixels, scene()) <= (1.5 if suffix == "jpg" else 0)
    encode(tmp_path / f"b.{suffix}", photo.pixels, photo)
    with Image.open(tmp_path / f"b.{suffix}") as image:
        assert image.info["icc_profile"] == srgb_profile()


def test_broken_profile_is_noted(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.png", icc_profile=b"no profile at all" * 20)
    assert decode(tmp_path / "a.png").notes == ("unreadable colour profile: taken as sRGB",)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    first = Image.fromarray(scene())
    first.save(tmp_path / "a.webp", save_all=True, append_images=[first.rotate(180)], lossless=True)
    photo = decode(tmp_path / "a.webp")
    assert photo.notes == ("more than one picture in the file: only the first is used",)
    assert difference(photo.pixels, scene()) < 1


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").pixels.tolist() == [[[1, 2, 3]]]


def broken_files(folder: Path) -> dict[str, str]:
    """Broken file -> a word that its message must hold."""
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "whole.jpg")
    Image.fromarray(noise).save(folder / "whole.png")
    (folder / "truncated.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:1500])
    (folder / "truncated.png").write_bytes((folder / "whole.png").read_bytes()[:3000])
    body = bytearray((folder / "whole.png").read_bytes())
    body[2000:2400] = b"\x00" * 400
    (folder / "corrupt.png").write_bytes(bytes(body))
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("this is no photo")
    # Pillow would hand this to Ghostscript
    (folder / "script.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(folder / "float.tif")
    (folder / "folder.jpg").mkdir()
    return {
        "truncated.jpg": "truncated",
        "truncated.png": "truncated",
        "corrupt.png": "cannot be read",
        "zero.jpg": "empty",
        "text.jpg": "known format",
        "script.jpg": "known format",
        "float.tif": "floating-point",
        "folder.jpg": "directory",
        "missing.jpg": "not found",
    }


def test_broken_files_give_one_line_with_path_and_reason(tmp_path: Path) -> None:
    for name, word in broken_files(tmp_path).items():
        with pytest.raises(PhotoError, match=word) as caught:
            decode(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_bomb_is_refused_by_its_header_alone(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 10_000) + b"IDAT")
    with pytest.raises(PhotoError, match="30000x30000 is 900000000 pixels, over the limit of 200000000"):
        decode(tmp_path / "bomb.png")
    assert Image.MAX_IMAGE_PIXELS is not None


def test_encode_leaves_nothing_behind_when_it_fails(tmp_path: Path) -> None:
    photo = Photo(scene(), None, None, b"Exif\x00\x00" + b"x" * 70_000, "JPEG", 8)
    with pytest.raises(PhotoError, match="cannot be written"):
        encode(tmp_path / "out" / "a.jpg", photo.pixels, photo)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PhotoError, match="cannot be written"):
        encode(tmp_path / "file" / "a.jpg", scene(), Photo(scene(), None, None, None, "JPEG", 8))
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".jpg") or path.name.startswith(".")]


def test_find_photos(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/c.png", "a/.hidden.png", ".thumbs/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert find_photos([tmp_path]) == [tmp_path / "a/c.png", tmp_path / "b.JPG"]
    # named outright, a file is taken at its word; and each only once
    assert find_photos([tmp_path / "notes.txt", tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(PhotoError, match=r"empty: no photo in this folder"):
        find_photos([tmp_path / "empty"])
    with pytest.raises(PhotoError, match=r"nowhere: not found"):
        find_photos([tmp_path / "nowhere"])
