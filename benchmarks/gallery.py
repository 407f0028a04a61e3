"""Real degraded photos, before and after, with the diagnosis in words: the sheets and the README of docs/gallery.

    python -m benchmarks.gallery --model pretrained
    python -m benchmarks.gallery --model models/champion --out somewhere

No recipe degraded these photos: weather, light, cameras and web compression did, so nothing is known of the clean scene
and nothing is measured; the sheets are for the eye. What was seen in each photo when it was chosen stands in
docs/gallery/SOURCES.csv and beside the diagnosis. No photo is used for training (tests/benchmarks/test_gallery.py looks
for near duplicates).
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components import storage
from components.diagnosis import Diagnosis
from components.photos.decode import PhotoError, decode

if TYPE_CHECKING:
    from components.inference import Models, Restored

GALLERY = Path(__file__).resolve().parent.parent / "docs" / "gallery"
SOURCES = "SOURCES.csv"
CELL = (560, 420)  # px: at most so large stand before and after on a sheet
MARGIN, TEXT, LINE = 8, 15, 20  # px: between cells, height of the letters and of a line
ROWS = 4  # photos on one sheet
QUALITY = 88


@dataclass(frozen=True)
class Photo:
    """One row of SOURCES.csv: what was seen in the photo, where it comes from and what was changed."""

    file: str
    seen: str
    registry: str
    package: str
    version: str
    source_file: str
    licence: str
    author: str
    note: str
    changes: str


@dataclass(frozen=True)
class Shown:
    """A photo before (H, W, 3) uint8, and what the models made of it."""

    photo: Photo
    before: np.ndarray
    result: Restored


def read_sources(path: Path) -> list[Photo]:
    """The rows of a SOURCES.csv, in its order."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Photo(**row) for row in csv.DictReader(file)]


def eye(photo: Photo) -> str:
    """What was seen when the photo was chosen, as words: "haze, low light"."""
    return photo.seen.replace(";", ", ").replace("_", " ")


def words(diagnosis: Diagnosis) -> str:
    """The findings, worst first, as words: "haze 61 (confidence 93%), noise 12 (confidence 80%)", or "clean"."""
    worst_first = sorted(diagnosis.findings.items(), key=lambda item: -item[1].severity)
    told = [f"{kind.replace('_', ' ')} {f.severity:.0f} (confidence {f.confidence:.0%})" for kind, f in worst_first]
    return ", ".join(told) or "clean"


def outcome(result: Restored) -> str:
    """Whether the photo was restored or kept, and why."""
    return f"original kept: {result.kept}" if result.kept else "restored"


def captions(shown: Shown) -> list[str]:
    """The lines beneath one row of a sheet."""
    result = shown.result
    lines = [f"{shown.photo.file}; seen by eye: {eye(shown.photo)}", f"before: {words(result.before)}"]
    # a kept photo has no second diagnosis
    return lines + ([outcome(result)] if result.kept else [f"after: {words(result.after)}"])


def wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """The text in lines of at most `width` px, broken at blanks."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def row(shown: Shown) -> Image.Image:
    """Before and after side by side, the captions beneath."""
    font = ImageFont.load_default(TEXT)
    halves = [Image.fromarray(picture) for picture in (shown.before, shown.result.image)]
    for half in halves:
        half.thumbnail(CELL, Image.Resampling.LANCZOS)
    width = 2 * CELL[0] + MARGIN
    lines = [line for caption in captions(shown) for line in wrap(caption, font, width)]
    page = Image.new("RGB", (width, halves[0].height + len(lines) * LINE + 2 * MARGIN), "white")
    for number, half in enumerate(halves):
        page.paste(half, (number * (CELL[0] + MARGIN), 0))
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        draw.text((0, halves[0].height + MARGIN // 2 + number * LINE), line, fill="black", font=font)
    return page


def sheet(gallery: list[Shown]) -> Image.Image:
    """Rows beneath each other."""
    rows = [row(shown) for shown in gallery]
    page = Image.new("RGB", (rows[0].width, sum(one.height for one in rows)), "white")
    top = 0
    for one in rows:
        page.paste(one, (0, top))
        top += one.height
    return page


def cells(*texts: str) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(text.replace('|', '/') for text in texts)} |"


def readme(gallery: list[Shown], sheets: list[str], model: str) -> str:
    """The README: the sheets, what was diagnosed before and after, where each photo comes from."""
    lines = ["# Real photos, before and after", ""]
    lines += [f"Written by `python -m benchmarks.gallery --model {model}`. No recipe degraded these photos: weather,"]
    lines += ["light, cameras and web compression did. There is no clean original to compare with, so nothing is"]
    lines += ['measured here; "seen by eye" is what the photo was chosen for, not a measurement.', ""]
    lines += [f"![before on the left, after on the right, the diagnosis beneath]({name})" for name in sheets]
    lines += ["", "## What was diagnosed", ""]
    lines += [cells("Photo", "Seen by eye", "Before", "After", "Outcome"), cells(*["---"] * 5)]
    for shown in gallery:
        photo, result = shown.photo, shown.result
        after = "" if result.kept else words(result.after)
        name = f"[{photo.file}](photos/{photo.file})"
        lines.append(cells(name, f"{eye(photo)}: {photo.note}", words(result.before), after, outcome(result)))
    lines += [
        "",
        "Severities run from 1 (just visible) to 100. A photo is kept as it was when it is diagnosed as clean,",
    ]
    lines.append("when one thing alone is found and not for sure, or when the second look finds worse than there was.")
    lines += ["", "## Where the photos come from", ""]
    lines += [cells("Photo", "Author", "Licence", "Package", "File inside", "Changed by us"), cells(*["---"] * 6)]
    for shown in gallery:
        photo = shown.photo
        package = f"{photo.package} {photo.version} ({photo.registry})"
        author = photo.author or "not named"
        lines.append(cells(photo.file, author, photo.licence, package, f"`{photo.source_file}`", photo.changes))
    lines += ["", "The same as a table for programs: [SOURCES.csv](SOURCES.csv); licence texts and notices:"]
    lines += [
        "[LICENCES.md](LICENCES.md). The sheets are changed copies of the photos and stay under their licences.",
        "",
    ]
    return "\n".join(lines)


def restore(models: Models, photos: list[Photo], folder: Path) -> list[Shown]:
    """Every photo through both models, in order. Raises PhotoError."""
    gallery = []
    for photo in storage.progress(photos, len(photos), "restoring"):
        before = decode(folder / photo.file).pixels
        gallery.append(Shown(photo, before, models.restore(before)))
    return gallery


def write(gallery: list[Shown], out: Path, model: str) -> list[Path]:
    """Sheets of ROWS photos each, and the README, in `out`; returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for first in range(0, len(gallery), ROWS):
        path = out / f"sheet-{first // ROWS + 1}.jpg"
        with storage.whole_file(path) as part:
            sheet(gallery[first : first + ROWS]).save(part, "JPEG", quality=QUALITY, subsampling=0)
        paths.append(path)
    path = out / "README.md"
    with storage.whole_file(path) as part:
        part.write_text(readme(gallery, [one.name for one in paths], model), encoding="utf-8")
    return [*paths, path]


def main(arguments: list[str] | None = None) -> int:
    import rnr
    from components.inference import ModelRefError

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="pretrained", help="as for `rnr restore`: pretrained, models:/..., a folder")
    parser.add_argument("--photos", type=Path, default=GALLERY, help="folder with SOURCES.csv and photos/")
    parser.add_argument("--out", type=Path, default=GALLERY, help="folder for the sheets and the README")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options = parser.parse_args(arguments)
    try:
        models = rnr.load(options.model, options.device)
        gallery = restore(models, read_sources(options.photos / SOURCES), options.photos / "photos")
    except (ModelRefError, PhotoError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for path in write(gallery, options.out, options.model):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
