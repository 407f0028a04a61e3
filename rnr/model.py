"""The models as a person at a Python prompt meets them: files in, files out, arrays where wanted.

import rnr
model = rnr.load()
result = model.restore("fog.jpg")
result.before.findings                    # {"haze": Finding(severity=62.0, confidence=0.95, factors={...})}
result.save("out/fog.jpg")                # EXIF, colour profile and transparency kept
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, overload

import numpy as np
from PIL import Image, ImageOps

from components import storage
from components.diagnosis import Diagnosis
from components.inference import Models, Restored
from components.photos.decode import Photo, PhotoError, decode
from components.photos.encode import encode

# a file, a picture of Pillow's (taken as sRGB), or pixels (H, W, 3) uint8 or uint16 in sRGB
Picture: TypeAlias = str | os.PathLike[str] | Image.Image | np.ndarray
FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF",
    ".bmp": "BMP", ".gif": "GIF",
}  # fmt: skip


@dataclass(frozen=True)
class Result(Restored):
    """A restored photo and what was said of it.

    image: (H, W, 3) of the type that went in. before, after: the diagnoses (`findings` by type, each with severity
    1..100, confidence 0..1 and factors; `reasoning`, `evidence`, `scene`, `objects`). strength: 0..1, how much of the
    restorer's work is in `image`. kept: why the original was kept, else None. weakened: why `strength` is less than
    asked for, else None. timings: seconds. photo: what was read, with its metadata; source: the file, if it was one.
    edits, strength_asked: what `restore` was told.
    """

    photo: Photo | None = None
    source: Path | None = None
    edits: dict[str, float] = field(default_factory=dict)
    strength_asked: float = 1.0

    def save(self, path: str | os.PathLike[str], sidecar: bool = False) -> Path:
        """Write the photo in the format of the suffix, whole or not at all, with the metadata of the one that went in.

        A photo that was kept and goes into its own format is the very file, byte for byte. With `sidecar` what was
        said goes beside it as NAME.diagnosis.json, as `rnr restore` writes it. Raises PhotoError for a suffix that is
        no format, for one that does not hold 16 bits, and where the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in FORMATS:
            raise PhotoError(f"{path}: the suffix is no known format; there are: {', '.join(FORMATS)}")
        form = FORMATS[path.suffix.lower()]
        if self.kept and self.source and self.photo and self.photo.format == form:
            if not (path.exists() and path.samefile(self.source)):
                with storage.whole_file(path) as part:
                    shutil.copyfile(self.source, part)
        else:
            encode(path, self.image, replace(self.photo or bare(self.image), format=form))
        if sidecar:
            storage.write_json(path.with_name(f"{path.name}.diagnosis.json"), self.told())
        return path

    def told(self) -> dict:
        """What the sidecar says, for JSON: all but the pixels."""
        asked = {"edits": self.edits, "strength_asked": self.strength_asked}
        return {**super().told(), **asked, "notes": list(self.photo.notes) if self.photo else []}


class Model(Models):
    """A reasoner and the restorer that listens to it. Made by `rnr.load`; one photo at a time, from one thread."""

    @overload  # type: ignore[override]
    def diagnose(self, images: Picture) -> Diagnosis: ...  # type: ignore[overload-overlap]
    @overload
    def diagnose(self, images: Sequence[Picture]) -> list[Diagnosis]: ...
    def diagnose(self, images: Picture | Sequence[Picture]) -> Diagnosis | list[Diagnosis]:
        """What is wrong with one photo, or with each of several.

        Raises PhotoError for a file that cannot be read, TypeError or ValueError for what is no picture.
        """
        if isinstance(images, Sequence) and not isinstance(images, str):
            return super().diagnose([read(image).pixels for image in images])
        return super().diagnose([read(images).pixels])[0]

    def restore(self, image: Picture, edits: dict[str, float] | None = None, strength: float = 1.0) -> Result:
        """Restore one photo of any size under its diagnosis, changed by `edits` (type -> severity, 0 removes it).

        Files of 16 bits are restored with 16 bits. `strength` in 0..1. Does no harm: see components/inference.py.
        Raises PhotoError, and ValueError for an unknown type or a number out of range.
        """
        photo = read(image, deep=True)
        done = super().restore(photo.pixels, edits, strength)
        source = Path(image) if isinstance(image, (str, os.PathLike)) else None
        return Result(**vars(done), photo=photo, source=source, edits=edits or {}, strength_asked=strength)


def read(image: Picture, deep: bool = False) -> Photo:
    """Any picture as a Photo. Raises PhotoError, TypeError, ValueError."""
    if isinstance(image, (str, os.PathLike)):
        return decode(Path(image), deep=deep)
    if isinstance(image, Image.Image):
        return bare(np.asarray(ImageOps.exif_transpose(image).convert("RGB")))
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{type(image).__name__} is no picture: give a path, a PIL image or an array (H, W, 3)")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"pixels must be (H, W, 3) of uint8 or uint16 in sRGB, not {image.shape} of {image.dtype}")
    return bare(image)


def bare(pixels: np.ndarray) -> Photo:
    """Pixels that came without a file, hence without metadata."""
    return Photo(pixels, None, None, None, "PNG", 16 if pixels.dtype == np.uint16 else 8)
