"""What becomes of a photo and its diagnosis on the way out: a file with a summary in headers, or JSON."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from components.diagnosis import TYPES, Diagnosis
from components.inference import eight_bits
from components.photos.decode import decode
from components.photos.encode import encoded
from components.serving.api import schema
from components.serving.api.upload import Upload
from components.serving.following import Live
from components.serving.service import Diagnosed

FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "tiff": "TIFF"}
SUMMARY_HEADERS = {
    "Rnr-Before": (
        "Severities under which the photo was restored, such as haze=62.1, noise=30.0; none where it is clean.",
        "string",
    ),
    "Rnr-After": ("Severities that are left; none where it is clean.", "string"),
    "Rnr-Strength": ("That was used, 0 to 1.", "number"),
    "Rnr-Kept": ("Why the photo came back as it was sent; only where it did.", "string"),
    "Rnr-Weakened": ("Why less strength was used than asked for; only where it was.", "string"),
    "Rnr-Model": ("The models that answered.", "string"),
}


@dataclass(frozen=True)
class Restoration:
    """A restored photo's file, and all that is told of it (the fields of RestoreAnswer but the image)."""

    image: bytes
    told: dict[str, Any]


def restored(live: Live, sent: Upload, max_pixels: int) -> Restoration:
    """In the models' thread: decode, restore, encode. Raises PhotoError."""
    options = sent.options
    photo = decode(sent.image, max_pixels, deep=True)
    result = live.models.restore(
        photo.pixels, {str(kind): level for kind, level in options.edits.items()} or None, options.strength
    )
    notes = list(photo.notes)
    form = FORMATS.get(options.format, photo.format)
    image = sent.image
    # do no harm: a photo that is kept is the very file, unless another format was asked for
    if not result.kept or form != photo.format:
        pixels = result.image
        if pixels.dtype == np.uint16 and form not in ("PNG", "TIFF"):
            pixels = eight_bits(pixels)
            notes.append(f"16 bits per channel written as 8: {form} holds no more")
        image = encoded(pixels, replace(photo, pixels=pixels, format=form, alpha=_alpha(photo.alpha, pixels)))
    told = {
        "media_type": schema.MEDIA_TYPES[form],
        **result.told(),
        "strength_asked": options.strength,
        "edits": dict(options.edits),
        "notes": notes,
        "model": live.name,
    }
    return Restoration(image, told)


def _alpha(alpha: np.ndarray | None, pixels: np.ndarray) -> np.ndarray | None:
    """Of the bits of the pixels."""
    if alpha is None or alpha.dtype == pixels.dtype:
        return alpha
    return eight_bits(alpha)


def diagnosed(said: Diagnosed) -> dict[str, Any]:
    """The fields of DiagnoseAnswer."""
    width, height = said.size
    told = {"width": width, "height": height, "notes": list(said.photo.notes), "model": said.model}
    return {"diagnosis": said.diagnosis.model_dump(mode="json"), **told}


def wants_json(accept: str) -> bool:
    """Whether a header Accept asks for a restoration in JSON."""
    return "application/json" in accept.lower() and "image/" not in accept.lower()


def as_json(done: Restoration) -> bytes:
    """A RestoreAnswer."""
    return json.dumps({"image": base64.b64encode(done.image).decode("ascii"), **done.told}).encode()


def summary(told: dict[str, Any]) -> dict[str, str]:
    """A restoration in headers: severities as an RFC 9651 dictionary, reasons as its strings."""
    headers = {"Rnr-Strength": f"{told['strength']:g}", "Rnr-Model": _text(told["model"])}
    headers |= {f"Rnr-{why.capitalize()}": _text(told[why]) for why in ("kept", "weakened") if told[why]}
    # an empty dictionary is no header at all, says the RFC
    levels = {f"Rnr-{when.capitalize()}": _levels(told[when]) for when in ("before", "after")}
    return headers | {name: found for name, found in levels.items() if found}


def _levels(diagnosis: dict[str, Any]) -> str:
    findings = Diagnosis.model_validate(diagnosis).findings
    return ", ".join(f"{kind}={findings[kind].severity:.1f}" for kind in TYPES if kind in findings)


def _text(line: str) -> str:
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in line)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
