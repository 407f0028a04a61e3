"""Files of 16 bits per channel: PNG and TIFF, in and out. Pillow has no 16-bit RGB.

from components.photos import deep

OpenCV reads them. They are written here, band by band, because what OpenCV writes has no profile and no EXIF.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

FORMATS = ("PNG", "TIFF")
BAND_PX = 64  # rows that are packed at once
EXIF_HEADER = b"Exif\x00\x00"
TIFF = {
    "width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "strips": 273, "samples": 277,
    "rows": 278, "bytes": 279, "predictor": 317, "alpha": 338, "format": 339, "profile": 34675,
}  # fmt: skip
GREY, RGB, DEFLATE, DIFFERENCES, STRAIGHT_ALPHA, INTEGERS = 1, 2, 8, 2, 2, 1


def read(source: str | Path | bytes, image: Image.Image) -> list[np.ndarray] | None:
    """(H, W, 1 or 3) uint16, and (H, W) of alpha where there is one, of a 16-bit PNG or TIFF that Pillow has opened.

    None for what is neither grey nor RGB, and for alpha that the colours are multiplied with. Turned as Pillow's own
    pixels are: a TIFF upright, a PNG as it is stored.
    """
    if image.format not in FORMATS or "transparency" in image.info:
        return None
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if (
            any(bits != 16 for bits in tags.get(TIFF["bits"], ()))
            or any(kind != INTEGERS for kind in tags.get(TIFF["format"], ()))
            or any(kind not in (0, STRAIGHT_ALPHA) for kind in tags.get(TIFF["alpha"], ()))
            or tags.get(TIFF["photometric"]) not in (GREY, RGB)
        ):
            return None
    import cv2

    # its warnings are about tags that it does not need
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # through memory: OpenCV cannot open every path that Python can
    data = np.frombuffer(source, np.uint8) if isinstance(source, bytes) else np.fromfile(source, np.uint8)
    values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.shape[1::-1] != image.size:
        return None
    if values.ndim == 2:
        return [values[..., None]]
    if values.shape[2] not in (3, 4):
        return None
    colours = values[..., 2::-1]
    return [colours] if values.shape[2] == 3 else [colours, values[..., 3]]


def write_png(file: IO[bytes], channels: list[np.ndarray], icc: bytes | None, exif: bytes | None) -> None:
    """A 16-bit PNG of `channels`, (H, W, 3) uint16 and perhaps (H, W) uint16 of alpha."""
    height, width = channels[0].shape[:2]
    kind = 6 if len(channels) == 2 else 2
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    if icc is not None:
        _chunk(file, b"iCCP", b"ICC profile\x00\x00" + zlib.compress(icc))
    if exif is not None:
        _chunk(file, b"eXIf", exif.removeprefix(EXIF_HEADER))
    packer = zlib.compressobj(6)
    above = None
    for rows in _bands(channels):
        raw = rows.astype(">u2").reshape(len(rows), -1).view(np.uint8)
        first = np.zeros_like(raw[:1]) if above is None else above
        # filter 4 (Paeth): each byte less the likeliest of its neighbours, one pixel of 2 bytes a channel before
        filtered = np.empty((len(raw), raw.shape[1] + 1), np.uint8)
        filtered[:, 0] = 4
        filtered[:, 1:] = raw - _paeth(raw, np.concatenate([first, raw[:-1]]), 2 * rows.shape[2])
        above = raw[-1:].copy()
        _chunk(file, b"IDAT", packer.compress(filtered.tobytes()))
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")


def _chunk(file: IO[bytes], name: bytes, data: bytes) -> None:
    # several IDAT make one stream; an empty one says nothing
    if data or name != b"IDAT":
        file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


def _paeth(raw: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """(H, n) uint8: of the bytes before (by `step`), above and before above, the one nearest to a + b - c."""
    b = above.astype(np.int16)
    a, c = np.zeros_like(b), np.zeros_like(b)
    a[:, step:], c[:, step:] = raw[:, :-step], above[:, :-step]
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    return np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c)).astype(np.uint8)


def write_tiff(file: IO[bytes], channels: list[np.ndarray], icc: bytes | None, exif: bytes | None) -> None:
    """A 16-bit TIFF of `channels` as for `write_png`: deflated strips of differences from pixel to pixel."""
    height, width = channels[0].shape[:2]
    samples = 3 + (len(channels) == 2)
    strips = []
    for rows in _bands(channels):
        differences = rows.copy()
        differences[:, 1:] -= rows[:, :-1]
        strips.append(zlib.compress(differences.astype("<u2").tobytes(), 6))
    lengths = [len(strip) for strip in strips]
    table = TiffImagePlugin.ImageFileDirectory_v2()
    if exif is not None:
        _describe(table, exif)
    values: dict[str, object] = {
        "width": width,
        "height": height,
        "bits": (16,) * samples,
        "compression": DEFLATE,
        "photometric": RGB,
        # counted from the end of the table, which Pillow adds
        "strips": tuple(sum(lengths[:place]) for place in range(len(strips))),
        "samples": samples,
        "rows": BAND_PX,
        "bytes": tuple(lengths),
        "predictor": DIFFERENCES,
        "format": (INTEGERS,) * samples,
    }
    if samples == 4:
        values["alpha"] = STRAIGHT_ALPHA
    for name, value in values.items():
        table[TIFF[name]] = value
    if icc is not None:
        table.tagtype[TIFF["profile"]] = 7  # undefined bytes
        table[TIFF["profile"]] = icc
    table.save(file)
    for strip in strips:
        file.write(strip)


def _describe(table: TiffImagePlugin.ImageFileDirectory_v2, block: bytes) -> None:
    """Copy what an EXIF block says, with its tables of exposure and place, into a TIFF's own table."""
    exif = Image.Exif()
    exif.load(block)
    for tag, value in exif.items():
        nested = tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
        table[tag] = exif.get_ifd(tag) if nested else value


def _bands(channels: list[np.ndarray]) -> Iterator[np.ndarray]:
    """(rows, W, C) uint16 of all channels, BAND_PX rows at a time."""
    for top in range(0, len(channels[0]), BAND_PX):
        parts = [channel[top : top + BAND_PX] for channel in channels]
        yield np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], -1)
