"""Photos in: any common file as upright sRGB.

    from components.photos.decode import decode
    photo = decode("holiday/fog.jpg")

Pixels are 8 bits per channel. Whoever asks for it (`deep=True`) gets the 16 bits of a 16-bit PNG or TIFF. Beside its
pixels a photo takes no more memory than Pillow needs for it.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from components.photos import colour, deep
from components.photos.orientation import canvas

# Only plain picture formats: Pillow can open others (EPS starts Ghostscript), which no stranger's file should reach.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
# More is no description of a photo. A JPEG holds no larger EXIF block (one segment); printers' tables reach 3 MB
MOST_EXIF_BYTES = 65_533 - len(b"Exif\0\0")
MOST_PROFILE_BYTES = 8_000_000
BAND_PX = 256  # rows that are converted at once
BITS_PER_SAMPLE = 258  # TIFF tag
# What a TIFF's own directory says of the photo; its other tags describe how the pixels lay in the old file.
DESCRIPTIVE_TAGS = {
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
    ExifTags.Base.ExifOffset,
    ExifTags.Base.GPSInfo,
}
# Pillow warns of odd metadata that is either used or dropped here; no line of its own should reach the user.
warnings.filterwarnings("ignore", module=r"PIL\.")
# Pillow's own pixel limit is a global of the process; it is lifted only while a header is read.
_header = threading.Lock()


class PhotoError(ValueError):
    """A photo cannot be read, written or found; the message is one line with the path and the reason."""


class UnknownFormatError(PhotoError):
    """The file is no photo in one of FORMATS."""


class TooManyPixelsError(PhotoError):
    """The photo is larger than the caller allows."""


@dataclass(frozen=True)
class Photo:
    """One decoded photo.

    pixels: (H, W, 3) uint8 or (read deep) uint16, sRGB, upright. alpha: (H, W) of the same type, or None.
    icc: the colour profile the file came with, or None. own_colours: whether the pixels are still in its space
    (only read deep, from a profile that cannot be undone; else they are sRGB).
    exif: the EXIF block with its orientation reset to 1, or None. format: Pillow's name ("JPEG", "PNG", ...).
    bits: per channel in the file, 8 or 16. notes: what was lost or assumed on the way in, one sentence each.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    icc: bytes | None
    exif: bytes | None
    format: str
    bits: int
    notes: tuple[str, ...] = ()
    own_colours: bool = False


def decode(source: str | Path | bytes, max_pixels: int = 200_000_000, deep: bool = False) -> Photo:
    """Read one photo, a file or the bytes of one; of several frames or pages the first. With `deep` 16 bits stay 16.

    Raises PhotoError for a missing, empty, corrupt, truncated or unsupported file and for one of more than
    `max_pixels` pixels (checked before anything is unpacked).
    """
    with _explained(source), _open(source, max_pixels) as image:
        return _read(source, image, deep)


def size(source: str | Path | bytes, max_pixels: int = 200_000_000) -> tuple[int, int]:
    """(width, height) as the header of a photo says, nothing unpacked. Raises PhotoError as `decode` does."""
    with _explained(source), _open(source, max_pixels) as image:
        return image.size


@contextlib.contextmanager
def _explained(source: str | Path | bytes) -> Iterator[None]:
    """Whatever goes wrong with a photo becomes a PhotoError that names it."""
    name = "the photo" if isinstance(source, bytes) else str(Path(source))
    try:
        yield
    except PhotoError as error:
        raise type(error)(f"{name}: {error}") from None
    except UnidentifiedImageError:
        raise UnknownFormatError(f"{name}: not a photo in a known format ({', '.join(SUFFIXES)})") from None
    except FileNotFoundError:
        raise PhotoError(f"{name}: not found") from None
    # Pillow's decoders answer hostile bytes with nearly any exception there is
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise PhotoError(f"{name}: cannot be read: {reason}") from error


@contextlib.contextmanager
def _open(source: str | Path | bytes, max_pixels: int) -> Iterator[Image.Image]:
    """The file's header, of a photo that is not too large."""
    if (len(source) if isinstance(source, bytes) else Path(source).stat().st_size) == 0:
        raise PhotoError("the file is empty (0 bytes)")
    with _header:
        Image.init()  # with `formats` given, Pillow loads no plugin by itself
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise TooManyPixelsError(f"{width}x{height} is {width * height} pixels, over the limit of {max_pixels}")
        yield image


def _read(source: str | Path | bytes, image: Image.Image, wants_deep: bool) -> Photo:
    notes: list[str] = []
    if _several(image):
        notes.append("more than one picture in the file: only the first is used")
        image.seek(0)
    form = "JPEG" if image.format == "MPO" else str(image.format)
    bits = _bits(image)
    icc = image.info.get("icc_profile") or None
    if icc is not None and len(icc) > MOST_PROFILE_BYTES:
        notes.append(f"colour profile of {len(icc)} bytes: taken as sRGB")
        icc = None
    # also where OpenCV reads the pixels: it takes torn files for whole ones
    image.load()
    orientation = 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (ValueError, TypeError, KeyError, SyntaxError, OSError):
        notes.append("unreadable EXIF: orientation unknown, taken as upright")
    exif = _kept_exif(image, form, notes)
    channels = deep.read(source, image) if wants_deep and bits == 16 else None
    if channels is not None:
        mode = "L" if channels[0].shape[2] == 1 else "RGB"
        pixels, *alphas = (_turned(channel, orientation) for channel in channels)
        own = not colour.deep_to_srgb(pixels, mode, icc, BAND_PX, notes)
        return Photo(pixels, alphas[0] if alphas else None, icc, exif, form, bits, tuple(notes), own)
    if bits == 16:
        notes.append("16 bits per channel read at 8")
    pixels, alpha = _unpacked(image, orientation, icc, notes)
    return Photo(pixels, alpha, icc, exif, form, bits, tuple(notes))


def _several(image: Image.Image) -> bool:
    """Whether there is more than one picture in the file. They are not counted: a hostile file may hold a million."""
    if image.format != "TIFF":
        return bool(getattr(image, "is_animated", False))
    try:
        # Pillow would read every directory, and a megabyte holds 200,000 empty ones
        image.seek(1)
    except EOFError:
        return False
    # it may be broken in as many ways as the first; what is asked is whether it is there
    except Exception:
        return True
    return True


def _unpacked(
    image: Image.Image, orientation: int, icc: bytes | None, notes: list[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Upright pixels (H, W, 3) uint8 in sRGB and alpha (H, W) uint8 or None, band by band."""
    width, height = image.size
    pixels, rows = canvas((height, width, 3), np.uint8, orientation)
    alpha, opacities = None, None
    if image.has_transparency_data:
        alpha, opacities = canvas((height, width), np.uint8, orientation)
    convert = None
    for top in range(0, height, BAND_PX):
        band, opacity = _eight_bits(image.crop((0, top, width, min(top + BAND_PX, height))))
        convert = convert or colour.to_srgb(band.mode, icc, notes)
        rows[top : top + BAND_PX] = np.asarray(convert(band))
        if opacities is not None:
            opacities[top : top + BAND_PX] = opacity
    return pixels, alpha


def _turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """Upright (H, W, 3) of stored (H, W, 1 or 3), or (H, W) of stored (H, W)."""
    height, width = values.shape[:2]
    upright, stored = canvas((height, width, 3) if values.ndim == 3 else (height, width), values.dtype, orientation)
    stored[:] = values
    return upright


def _bits(image: Image.Image) -> int:
    """Bits per channel of the file, 8 or 16: Pillow itself tells only for greyscale."""
    if image.mode.startswith(("I", "F")):
        return 16
    if image.format == "PNG":
        # the name of the layout that the decoder unpacks from, such as "RGB;16B"
        return 16 if any("16" in str(tile.args) for tile in image.tile) else 8  # type: ignore[attr-defined]
    if image.format == "TIFF":
        return 16 if max(image.tag_v2.get(BITS_PER_SAMPLE, (8,))) > 8 else 8  # type: ignore[attr-defined]
    return 8


def _kept_exif(image: Image.Image, form: str, notes: list[str]) -> bytes | None:
    """The EXIF block with orientation 1, or None where the file has none."""
    try:
        exif = image.getexif()
        if form == "TIFF":
            for tag in [tag for tag in exif if tag not in DESCRIPTIVE_TAGS]:
                del exif[tag]
        if not exif:
            return None
        exif[ExifTags.Base.Orientation] = 1
        block = exif.tobytes()
    # the block is the camera's, and broken in as many ways as there are cameras
    except Exception:
        notes.append("unreadable EXIF: left out")
        return None
    if len(block) > MOST_EXIF_BYTES:
        notes.append(f"EXIF of {len(block)} bytes: left out")
        return None
    return block


def _eight_bits(image: Image.Image) -> tuple[Image.Image, np.ndarray | None]:
    """The picture in an 8-bit mode without alpha, and its alpha."""
    if image.mode == "F":
        raise ValueError("floating-point pixels are not supported; save the photo with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit pixels are not supported; save the photo with 8 or 16 bits")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)), None
    if not image.has_transparency_data:
        return (image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")), None
    image = image.convert("LA" if image.mode in ("L", "LA") else "RGBA")
    alpha = np.asarray(image.getchannel("A"))
    colour = image.convert("L" if image.mode == "LA" else "RGB")
    return colour, alpha


def find_photos(inputs: list[str | Path] | list[Path] | list[str]) -> list[Path]:
    """The photo files that `inputs` (files or folders, searched recursively) stand for, sorted, each once.

    A file named outright is taken whatever its suffix; in folders only SUFFIXES count and hidden files do not.
    Raises PhotoError for a path that does not exist and for a folder without any photo.
    """
    found: set[Path] = set()
    for given in map(Path, inputs):
        if given.is_dir():
            below = _below(given)
            if not below:
                raise PhotoError(f"{given}: no photo in this folder (looked for {', '.join(SUFFIXES)})")
            found.update(below)
        elif given.exists():
            found.add(given)
        else:
            raise PhotoError(f"{given}: not found")
    return sorted(found, key=lambda path: path.as_posix())


def _below(folder: Path) -> list[Path]:
    photos = []
    for top, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        photos += [Path(top) / f for f in files if not f.startswith(".") and f.lower().endswith(SUFFIXES)]
    return photos
