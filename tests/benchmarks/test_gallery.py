"""The gallery of real photos: provenance of what is there, and the sheets and README that the script writes."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import gallery
from components.diagnosis import TYPES, Diagnosis, Finding
from components.inference import Restored
from components.photos.identity import NEAR_DUPLICATE_BITS, difference_hash
from tests.tiny import REPOSITORY

PHOTOS = gallery.GALLERY / "photos"
LICENCES = {
    "Apache-2.0 AND BSD-3-Clause (package)",
    "CC0-1.0",
    "MIT (package)",
    "MIT (package); Unsplash photo",
    "Public domain",
}
LONGEST_SIDE_PX, ALL_BYTES = 800, 4_000_000


class StandIn:
    """Models that see haze, brighten the photo and see less; a dark photo they keep."""

    def restore(self, image: np.ndarray) -> Restored:
        haze = Diagnosis(findings={"noise": Finding(severity=7), "haze": Finding(severity=61.4, confidence=0.93)})
        if image.mean() < 10:
            return Restored(image, haze, haze, "the second look | found more damage", {})
        return Restored(np.minimum(image, 200) + 55, haze, Diagnosis(), None, {})


@pytest.fixture
def sources() -> list[gallery.Photo]:
    return gallery.read_sources(gallery.GALLERY / gallery.SOURCES)


def test_every_photo_has_its_provenance(sources: list[gallery.Photo]) -> None:
    assert sorted(photo.file for photo in sources) == sorted(path.name for path in PHOTOS.iterdir())
    for photo in sources:
        assert photo.licence in LICENCES, photo.file
        assert photo.registry in ("apt", "npm", "pip"), photo.file
        assert photo.package and photo.version and photo.source_file and photo.note and photo.changes, photo.file
        assert photo.seen == "clean" or set(photo.seen.split(";")) <= set(TYPES), photo.file
        with Image.open(PHOTOS / photo.file) as image:
            assert max(image.size) <= LONGEST_SIDE_PX and image.mode == "RGB", photo.file
    assert sum(path.stat().st_size for path in PHOTOS.iterdir()) <= ALL_BYTES


def test_every_package_has_its_licence_told(sources: list[gallery.Photo]) -> None:
    told = (gallery.GALLERY / "LICENCES.md").read_text(encoding="utf-8")
    for package, version in {(photo.package, photo.version) for photo in sources}:
        count = sum(photo.package == package for photo in sources)
        line = next(line for line in told.splitlines() if line.startswith(f"| {package} | {version} |"))
        assert line.endswith(f"| {count} |")


def test_no_photo_is_trained_on(sources: list[gallery.Photo]) -> None:
    trained = set()
    for listing in ("data/photos/SOURCES.csv", "data/pretraining/SOURCES.csv"):
        with (REPOSITORY / listing).open(encoding="utf-8", newline="") as file:
            trained |= {(row["package"], row["source_file"]) for row in csv.DictReader(file)}
    assert not trained & {(photo.package, photo.source_file) for photo in sources}
    folders = (REPOSITORY / "data/photos", REPOSITORY / "data/pretraining/photos")
    hashes = [photo_hash(path) for folder in folders for path in folder.glob("*.jpg")]
    for photo in sources:
        own = photo_hash(PHOTOS / photo.file)
        assert min((own ^ other).bit_count() for other in hashes) > NEAR_DUPLICATE_BITS, photo.file


def photo_hash(path: Path) -> int:
    with Image.open(path) as image:
        return difference_hash(np.asarray(image.convert("RGB")))


def test_sheets_and_readme(tmp_path: Path, sources: list[gallery.Photo], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "ROWS", 1)
    grey = np.full((60, 90, 3), 90, np.uint8)
    listed = []
    for name, picture in (("grey.png", grey), ("black.png", grey // 30)):
        Image.fromarray(picture).save(tmp_path / name)
        listed.append(replace(sources[0], file=name, seen="haze;low_light"))
    shown = gallery.restore(StandIn(), listed, tmp_path)  # type: ignore[arg-type]
    out = tmp_path / "out"
    assert [path.name for path in gallery.write(shown, out, "pretrained")] == [
        "sheet-1.jpg",
        "sheet-2.jpg",
        "README.md",
    ]
    with Image.open(out / "sheet-1.jpg") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    right = gallery.CELL[0] + gallery.MARGIN
    assert abs(pixels[10:50, 10:80].mean() - 90) < 3 and abs(pixels[10:50, right + 10 : right + 80].mean() - 145) < 3
    assert (pixels[70:] < 100).any(), "no text beneath"
    told = (out / "README.md").read_text(encoding="utf-8")
    assert "haze 61 (confidence 93%), noise 7 (confidence 100%) | clean | restored |" in told
    assert "original kept: the second look / found more damage" in told
    assert "haze, low light: " in told and "sheet-2.jpg" in told


def test_long_captions_are_wrapped() -> None:
    font = gallery.ImageFont.load_default(gallery.TEXT)
    lines = gallery.wrap("several findings " * 20, font, 300)
    assert len(lines) > 3 and all(font.getlength(line) <= 300 for line in lines)
    assert gallery.wrap("unbreakable", font, 5) == ["unbreakable"]


def test_no_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gallery.main(["--model", str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
