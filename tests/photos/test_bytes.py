"""Photos that are bytes in memory and never a file: the same in and out, and each kind of refusal by its name."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.photos.decode import Photo, PhotoError, TooManyPixelsError, UnknownFormatError, decode, size
from components.photos.encode import encode, encoded


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_bytes_are_as_good_as_a_file(tmp_path: Path, form: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    path = tmp_path / "photo"
    encode(path, pixels, Photo(pixels, None, None, None, form, 8))
    data = path.read_bytes()
    assert encoded(pixels, Photo(pixels, None, None, None, form, 8)) == data
    assert np.array_equal(decode(data).pixels, decode(path).pixels)
    assert size(data) == size(path) == (40, 30)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_in_memory(form: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (30, 40, 3), np.uint16)
    photo = decode(encoded(pixels, Photo(pixels, None, None, None, form, 16)), deep=True)
    assert (photo.bits, photo.format) == (16, form)
    assert np.array_equal(photo.pixels, pixels)
    with pytest.raises(PhotoError, match="JPEG holds 8 bits"):
        encoded(pixels, Photo(pixels, None, None, None, "JPEG", 16))


def test_each_refusal_has_its_name() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "PNG")
    data = buffer.getvalue()
    for read in (decode, size):
        with pytest.raises(UnknownFormatError, match=r"^the photo: not a photo in a known format"):
            read(b"%PDF-1.7")
        with pytest.raises(TooManyPixelsError, match=r"^the photo: 40x30 is 1200 pixels, over the limit of 1199"):
            read(data, max_pixels=1199)
        with pytest.raises(PhotoError, match="empty"):
            read(b"")
    with pytest.raises(PhotoError, match="cannot be read"):
        decode(data[:-30])
    assert size(data[:-30]) == (40, 30)
