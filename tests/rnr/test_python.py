"""Three lines of Python: files in any form in, a result that can be looked at and saved with its metadata out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import ExifTags, Image

import rnr
from components.photos.decode import PhotoError, decode
from components.reasoner.reader import Reasoner
from components.restorer.network import Restorer
from rnr.model import Model, Picture, Result
from tests.browser import degraded
from tests.test_inference import LIFT, Brighter, Eye
from tests.tiny import environment

GREY, CLEAN = 100, 30
# what the stand-in says of a photo of each grey level
SAID = {GREY: {"haze": (60.0, 0.9)}, CLEAN: {}, CLEAN + 1: {}, GREY + LIFT: {}, GREY + LIFT // 2: {"haze": (20.0, 0.8)}}


@pytest.fixture
def model() -> Model:
    return Model(cast(Reasoner, Eye(SAID)), cast(Restorer, Brighter()))


def save(path: Path, level: int, **options: object) -> Path:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    Image.new("RGB", (40, 30), (level,) * 3).save(path, exif=exif, **options)  # type: ignore[arg-type]
    return path


def test_a_file_is_restored_looked_at_and_saved_with_its_metadata(tmp_path: Path, model: Model) -> None:
    result = model.restore(save(tmp_path / "fog.png", GREY))
    assert isinstance(result, Result)
    assert result.before.findings["haze"].severity == 60
    assert result.after.is_clean
    assert (result.image == GREY + LIFT).all()
    for name in ("out.png", "out.jpg", "deep/out.webp"):
        assert result.save(tmp_path / name) == tmp_path / name
        again = decode(tmp_path / name)
        assert abs(again.pixels.astype(int) - (GREY + LIFT)).max() <= 2
        assert again.exif is not None and b"somebody" in again.exif
    assert decode(tmp_path / "out.jpg").format == "JPEG"
    assert not list(tmp_path.rglob("*.json"))
    result.save(tmp_path / "out.png", sidecar=True)
    told = json.loads((tmp_path / "out.png.diagnosis.json").read_text(encoding="utf-8"))
    assert told["before"]["findings"]["haze"]["severity"] == 60
    assert (told["edits"], told["strength_asked"], told["notes"]) == ({}, 1.0, [])


def test_a_kept_photo_is_the_very_file_also_onto_itself(tmp_path: Path, model: Model) -> None:
    source = save(tmp_path / "good.jpg", CLEAN, quality=40)
    before = source.read_bytes()
    result = model.restore(source)
    assert result.kept == "no degradation to remove"
    assert result.save(tmp_path / "copy.jpg").read_bytes() == before
    assert result.save(source).read_bytes() == before
    # into another format it is written anew
    assert decode(result.save(tmp_path / "copy.png")).format == "PNG"


def test_paths_pictures_and_pixels_are_the_same_photo(tmp_path: Path, model: Model) -> None:
    path = save(tmp_path / "fog.png", GREY)
    with Image.open(path) as image:
        forms: list[Picture] = [path, str(path), image, np.asarray(image)]
        found = model.diagnose(forms)
        assert [one.findings["haze"].severity for one in found] == [60.0] * 4
        for form in forms:
            assert model.diagnose(form) == found[0]
            assert (model.restore(form).image == GREY + LIFT).all()
    deep = np.full((30, 40, 3), GREY * 257, np.uint16)
    result = model.restore(deep)
    assert result.image.dtype == np.uint16
    assert decode(result.save(tmp_path / "deep.png"), deep=True).pixels.dtype == np.uint16
    with pytest.raises(PhotoError, match="JPEG holds 8 bits"):
        result.save(tmp_path / "deep.jpg")


def test_edits_and_strength(tmp_path: Path, model: Model) -> None:
    path = save(tmp_path / "fog.png", GREY)
    half = model.restore(path, edits={"haze": 80}, strength=0.5)
    assert (half.image == GREY + LIFT // 2).all()
    assert half.before.findings["haze"].severity == 80
    assert half.told()["edits"] == {"haze": 80}


@pytest.mark.parametrize(
    ("wrong", "error", "told"),
    [
        ("nowhere.jpg", PhotoError, "nowhere.jpg: not found"),
        (7, TypeError, "int is no picture: give a path"),
        (np.zeros((4, 4)), ValueError, r"pixels must be \(H, W, 3\) of uint8 or uint16 in sRGB, not \(4, 4\) of float"),
    ],
)
def test_what_is_no_picture_is_one_line(model: Model, wrong: Any, error: type[Exception], told: str) -> None:
    for ask in (model.diagnose, model.restore):
        with pytest.raises(error, match=told) as failure:
            ask(wrong)
        assert "\n" not in str(failure.value)


def test_unknown_suffix_and_unwritable_place(tmp_path: Path, model: Model) -> None:
    result = model.restore(save(tmp_path / "fog.png", GREY))
    with pytest.raises(PhotoError, match=r"out\.xyz: the suffix is no known format"):
        result.save(tmp_path / "out.xyz")
    (tmp_path / "file").touch()
    with pytest.raises((PhotoError, OSError)):
        result.save(tmp_path / "file" / "out.png")


def test_the_pretrained_pair_in_three_lines(tmp_path: Path) -> None:
    """As printed in the README, in a process of its own: real models, a real photo with much noise."""
    photo = degraded(tmp_path / "grainy.png", "noise")
    script = (
        "import sys, rnr\n"
        "assert 'torch' not in sys.modules\n"
        "model = rnr.load('pretrained')\n"
        f"result = model.restore({str(photo)!r})\n"
        "print(round(result.before.findings['noise'].severity), result.save('out.png', sidecar=True))\n"
    )
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    severity, saved = done.stdout.split()
    assert 30 < int(severity) <= 100
    assert decode(tmp_path / saved).pixels.shape == decode(photo).pixels.shape
    assert rnr.PRETRAINED.is_dir()
