"""Photos out: pixels into a file of the format that they came in, with its metadata.

from components.photos.encode import encode
encode("out/fog.jpg", photo.pixels, like=photo)
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from components import storage
from components.photos import colour, deep
from components.photos.decode import Photo, PhotoError

JPEG_QUALITY = 95
WEBP_QUALITY = 95
# an optimised JPEG is some percent smaller, and all its coefficients wait in memory: 6 bytes a pixel
OPTIMISED_PIXELS = 30_000_000


def encode(path: str | Path, pixels: np.ndarray, like: Photo) -> None:
    """Write (H, W, 3) `pixels` as a file of `like`'s format, whole or not at all; uint16 as 16 bits (PNG, TIFF).

    Kept: EXIF (orientation 1) and, for PNG, WebP and TIFF, alpha where the size is the same. A file that came
    with a colour profile gets an sRGB profile, or its own where the pixels are in its colours. JPEG is written at
    quality 95 without colour subsampling, GIF with 256 colours. Raises PhotoError when the file cannot be written.
    """
    try:
        with storage.whole_file(path) as part, part.open("wb") as file:
            _write(file, pixels, like)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise PhotoError(f"{path}: cannot be written: {reason}") from error


def encoded(pixels: np.ndarray, like: Photo) -> bytes:
    """The bytes of the file that `encode` would write. Raises PhotoError."""
    file = io.BytesIO()
    try:
        _write(file, pixels, like)
    except (OSError, ValueError) as error:
        raise PhotoError(f"the photo: cannot be written: {' '.join(str(error).split())}") from error
    return file.getvalue()


def _write(file: IO[bytes], pixels: np.ndarray, like: Photo) -> None:
    alpha = like.alpha
    if alpha is not None and (alpha.shape != pixels.shape[:2] or like.format not in ("PNG", "WEBP", "TIFF")):
        alpha = None
    icc = None if like.icc is None else like.icc if like.own_colours else colour.srgb_profile()
    if pixels.dtype == np.uint16:
        if like.format not in deep.FORMATS:
            raise ValueError(f"{like.format} holds 8 bits per channel, not 16")
        channels = [pixels] if alpha is None else [pixels, alpha]
        (deep.write_png if like.format == "PNG" else deep.write_tiff)(file, channels, icc, like.exif)
        return
    image = Image.fromarray(pixels)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    small = pixels.shape[0] * pixels.shape[1] <= OPTIMISED_PIXELS
    by_format: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": JPEG_QUALITY, "subsampling": 0, "optimize": small},
        "WEBP": {"quality": WEBP_QUALITY, "method": 4, "exact": True},
        "TIFF": {"compression": "tiff_lzw"},
    }
    options = by_format.get(like.format, {})
    if like.format in ("JPEG", "PNG", "WEBP", "TIFF"):
        if like.exif is not None:
            options["exif"] = like.exif
        if icc is not None:
            options["icc_profile"] = icc
    image.save(file, like.format, **options)
