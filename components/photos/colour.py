"""Colour profiles: the pixels of a file in sRGB, at 8 bits by LittleCMS, at 16 bits by the profile's own curves.

from components.photos.colour import to_srgb, deep_to_srgb

Pillow's binding of LittleCMS knows no 16-bit RGB. Nearly every camera's and editor's profile is a curve per channel and
a matrix, which is soon computed; the few that are tables are left alone.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageCms

DEEP = 65536  # values of a 16-bit channel
# parameters of the parametric curves 0 to 4 (ICC.1:2022, 10.18)
PARAMETERS = (1, 3, 4, 5, 7)


def srgb_profile() -> bytes:
    """An sRGB ICC profile, always the same bytes."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)  # the time of its making (ICC.1:2022, profile header, bytes 24 to 35)
    return bytes(profile)


def to_srgb(mode: str, icc: bytes | None, notes: list[str]) -> Callable[[Image.Image], Image.Image]:
    """What makes RGB pictures in sRGB of 8-bit ones of `mode`: through the profile where it fits, else as they stand.

    `notes` gets a sentence where the profile is of no use.
    """
    plain = _opened(mode, icc, notes)
    if plain is None:
        return lambda image: image.convert("RGB")
    try:
        # a grey profile maps grey to grey; an output mode other than RGB would keep the file's own space
        transform = ImageCms.buildTransform(plain, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        notes.append("unreadable colour profile: taken as sRGB")
        return lambda image: image.convert("RGB")
    return lambda image: ImageCms.applyTransform(image, transform) or image.convert("RGB")


def _opened(mode: str, icc: bytes | None, notes: list[str]) -> ImageCms.ImageCmsProfile | None:
    """The profile, where pixels of `mode` need it to become sRGB."""
    if icc is None:
        return None
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        space = opened.profile.xcolor_space.strip()
    except (ImageCms.PyCMSError, OSError, ValueError):
        notes.append("unreadable colour profile: taken as sRGB")
        return None
    if space != {"L": "GRAY"}.get(mode, mode):
        notes.append(f"colour profile is for {space}, not for {mode}: ignored")
        return None
    # converting sRGB to sRGB would only round
    return None if mode == "RGB" and _name(opened).startswith("sRGB") else opened


def _name(opened: ImageCms.ImageCmsProfile) -> str:
    return (opened.profile.profile_description or "").strip()


def deep_to_srgb(pixels: np.ndarray, mode: str, icc: bytes | None, band: int, notes: list[str]) -> bool:
    """Turn (H, W, 3) uint16 `pixels` into sRGB where they lie, `band` rows at a time; `mode` is "RGB" or "L".

    Colours that sRGB has not are clipped, and `notes` says so. False where the profile is no curve per channel with a
    matrix: the pixels then stay in its space, and belong in a file with this very profile.
    """
    opened = _opened(mode, icc, notes)
    if opened is None or icc is None:
        return True
    curves, matrix = _curves(icc, mode), _matrix(opened) if mode == "RGB" else np.eye(3, dtype=np.float32)
    if curves is None or matrix is None:
        notes.append(f"colour profile {_name(opened)!r} is a table: restored in its own colours")
        return False
    clipped = 0
    for top in range(0, len(pixels), band):
        rows = pixels[top : top + band]
        light = np.stack([curves[i][rows[..., i]] for i in range(3)], -1) @ matrix.T
        # less than half a step of 8 bits outside is rounding
        clipped += int(((light < -0.0002) | (light > 1.002)).any(-1).sum())
        rows[:] = np.rint(_encoded(light.clip(0, 1)) * (DEEP - 1))
    if clipped:
        share = 100 * clipped / (pixels.shape[0] * pixels.shape[1])
        notes.append(f"colours outside of sRGB were clipped ({share:.2g}% of the pixels)")
    return True


def _encoded(light: np.ndarray) -> np.ndarray:
    """sRGB values in [0, 1] of linear light in [0, 1] (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** np.float32(1 / 2.4) - 0.055)


def _matrix(opened: ImageCms.ImageCmsProfile) -> np.ndarray | None:
    """(3, 3) float32 from linear light in a profile's primaries to that in sRGB's, both seen under D50."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    both = []
    for profile in (opened.profile, srgb.profile):
        colorants = (profile.red_colorant, profile.green_colorant, profile.blue_colorant)
        if None in colorants:
            return None
        both.append(np.array([colorant[0] for colorant in colorants if colorant]).T)
    return (np.linalg.inv(both[1]) @ both[0]).astype(np.float32)


def _curves(icc: bytes, mode: str) -> list[np.ndarray] | None:
    """Linear light in [0, 1] (float32) of each 16-bit value, per channel; None where a table overrules the curves."""
    try:
        tags: dict[bytes, bytes] = {}
        for place in range(struct.unpack_from(">I", icc, 128)[0]):
            name, offset, size = struct.unpack_from(">4sII", icc, 132 + 12 * place)
            tags[name] = icc[offset : offset + size]
        if b"A2B0" in tags:
            return None
        names = (b"rTRC", b"gTRC", b"bTRC") if mode == "RGB" else (b"kTRC",) * 3
        return [_curve(tags[name]) for name in names]
    except (KeyError, struct.error, ValueError, ZeroDivisionError, OverflowError):
        return None


def _curve(tag: bytes) -> np.ndarray:
    """(DEEP,) float32 of a `curv` or `para` tag (ICC.1:2022, 10.6 and 10.18). Raises ValueError for any other."""
    x = np.arange(DEEP) / (DEEP - 1)
    if tag[:4] == b"curv":
        count = struct.unpack_from(">I", tag, 8)[0]
        if count == 0:
            return x.astype(np.float32)
        values: Any = np.array(struct.unpack_from(f">{count}H", tag, 12))
        y = x ** (values[0] / 256) if count == 1 else np.interp(x, np.linspace(0, 1, count), values / 65535)
        return y.astype(np.float32)
    if tag[:4] != b"para":
        raise ValueError("not a curve")
    kind = struct.unpack_from(">H", tag, 8)[0]
    if kind >= len(PARAMETERS):
        raise ValueError("not a known curve")
    given = [value / 65536 for value in struct.unpack_from(f">{PARAMETERS[kind]}i", tag, 12)]
    # what a kind does not state: a = 1, the others 0
    gamma, a, b, c, d, e, f = given + [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0][len(given) :]
    if kind in (1, 2):
        # below where the power begins the curve is flat, at c
        c, d, e, f = 0.0, -b / a, c, c
    power = np.maximum(a * x + b, 0) ** gamma + e
    return np.where(x >= d, power, c * x + f).clip(0, 1).astype(np.float32)
