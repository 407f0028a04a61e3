"""`rnr restore`: names and folders kept, bad files named, nothing of the person's ever overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from components.photos.decode import Photo, decode
from components.photos.encode import encode
from tests.rnr.conftest import BRIGHTER, CLEAN, CURSED, UNSURE, run


def test_folder_keeps_its_structure_and_each_photo_gets_a_diagnosis(place: Path, photo, models) -> None:
    photo(place / "in/a.png")
    photo(place / "in/deep/b.jpg", quality=95)
    assert run("restore", "in", "-o", "out") == 0
    files = sorted(path.relative_to(place / "out").as_posix() for path in (place / "out").rglob("*.*"))
    assert files == ["a.png", "a.png.diagnosis.json", "deep/b.jpg", "deep/b.jpg.diagnosis.json"]
    assert (decode("out/a.png").pixels == np.array([100, 120, 140]) + BRIGHTER).all()
    told = json.loads(Path("out/a.png.diagnosis.json").read_text())
    assert told["before"]["findings"]["haze"]["severity"] == 60
    assert told["after"]["findings"]["haze"]["severity"] == 10
    assert told["kept"] is None
    assert told["timings"] == {"diagnose_s": 0.1, "restore_s": 0.2}
    with Image.open("out/deep/b.jpg") as image:
        assert image.format == "JPEG"


def test_model_and_device_reach_the_loader(place: Path, photo, models) -> None:
    photo(place / "a.png")
    assert run("restore", "a.png", "-o", "out", "--model", "pretrained", "--device", "cuda") == 0
    assert models == [("pretrained", "cuda")]


def test_edits_and_strength_are_obeyed(place: Path, photo, models) -> None:
    photo(place / "a.png")
    assert run("restore", "a.png", "-o", "out", "--edit", "haze=0", "--edit", "snow=30", "--strength", "0.5") == 0
    assert (decode("out/a.png").pixels == np.array([100, 120, 140]) + BRIGHTER // 2).all()
    told = json.loads(Path("out/a.png.diagnosis.json").read_text())
    assert sorted(told["before"]["findings"]) == ["rain", "snow"]
    assert told["edits"] == {"haze": 0, "snow": 30}


def test_photo_that_is_kept_comes_back_byte_for_byte(place: Path, photo, models) -> None:
    source = photo(place / "a.jpg", CLEAN, quality=40)
    assert run("restore", "a.jpg", "-o", "out") == 0
    assert Path("out/a.jpg").read_bytes() == source.read_bytes()
    told = json.loads(Path("out/a.jpg.diagnosis.json").read_text())
    assert (told["kept"], told["strength"], told["strength_asked"]) == ("no degradation to remove", 0, 1)


def test_a_weakened_result_says_so_in_table_and_sidecar(place: Path, photo, models, capsys) -> None:
    photo(place / "a.png", UNSURE)
    assert run("restore", "a.png", "-o", "out") == 0
    assert (decode("out/a.png").pixels == np.array(UNSURE) + BRIGHTER // 2).all()
    told = json.loads(Path("out/a.png.diagnosis.json").read_text())
    assert (told["kept"], told["strength"], told["strength_asked"]) == (None, 0.5, 1)
    assert told["weakened"] == "rain rose from 20 to 40 at strength 1"
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("a.png"))
    assert "0.5" in row
    assert told["weakened"] in row


def test_rotated_photo_with_alpha_comes_out_upright(place: Path, models) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGBA", (60, 40), (100, 120, 140, 77)).save("a.png", exif=exif)
    assert run("restore", "a.png", "-o", "out") == 0
    restored = decode("out/a.png")
    assert restored.pixels.shape == (60, 40, 3)
    assert restored.alpha is not None
    assert (restored.alpha == 77).all()


@pytest.mark.parametrize(
    ("mode", "name"), [("CMYK", "a.jpg"), ("L", "a.png"), ("P", "a.png"), ("I;16", "a.png"), ("1", "a.tif")]
)
def test_unusual_modes_are_restored(place: Path, models, mode: str, name: str) -> None:
    Image.new(mode, (60, 40), 1 if mode == "1" else 30_000 if mode == "I;16" else None).save(name)
    Image.new("RGB", (1, 1), (9, 9, 9)).save("one-pixel.png")
    assert run("restore", name, "one-pixel.png", "-o", "out") == 0
    assert decode(Path("out") / name).pixels.shape == (40, 60, 3)
    assert decode("out/one-pixel.png").pixels.tolist() == [[[19, 19, 19]]]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_stay_sixteen(place: Path, models, name: str) -> None:
    """Restored in steps of 16 bits; kept, the very same file."""
    stored = np.random.default_rng(0).integers(9000, 50000, (40, 60, 3), np.uint16)
    for source, pixels in ((place / name, stored), (place / f"clean-{name}", np.zeros_like(stored))):
        encode(source, pixels, Photo(pixels, None, None, None, "PNG" if name == "a.png" else "TIFF", 16))
    assert run("restore", name, f"clean-{name}", "-o", "out") == 0
    photo = decode(place / "out" / name, deep=True)
    assert np.array_equal(photo.pixels, stored + BRIGHTER * 257)
    assert (place / "out" / f"clean-{name}").read_bytes() == (place / f"clean-{name}").read_bytes()


def test_bad_photos_are_named_and_the_others_done(place: Path, photo, models, capsys) -> None:
    photo(place / "in/good.png")
    whole = photo(place / "in/whole.jpg").read_bytes()
    (place / "in/truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (place / "in/zero.png").write_bytes(b"")
    (place / "in/corrupt.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"junk" * 99)
    photo(place / "in/cursed.png", CURSED)
    (place / "no-photos").mkdir()
    assert run("restore", "in", "no-photos", "missing.jpg", "-o", "out", "--json") == 1
    told = capsys.readouterr()
    assert sorted(json.loads(line)["path"] for line in told.out.splitlines()) == ["in/good.png", "in/whole.jpg"]
    lines = told.err.splitlines()
    assert len(lines) == 6
    for name in ("in/truncated.jpg", "in/zero.png", "in/corrupt.png", "in/cursed.png", "no-photos:", "missing.jpg"):
        assert len([line for line in lines if name in line]) == 1, name
    assert any("RuntimeError: out of memory" in line for line in lines)
    assert len(list((place / "out").iterdir())) == 4


def test_nothing_usable_is_exit_1_without_loading_a_model(place: Path, models, capsys) -> None:
    assert run("restore", "missing.jpg", "-o", "out") == 1
    assert capsys.readouterr().err == "rnr: missing.jpg: not found\n"
    assert models == []


def test_output_that_is_a_file(place: Path, photo, models, capsys) -> None:
    photo(place / "a.png")
    for out in ("file", "file/below"):
        (place / "file").write_text("in the way")
        assert run("restore", "a.png", "-o", out) == 2
        error = capsys.readouterr().err
        assert error == f"rnr: {out}: cannot be written to: not a folder\n"
    assert (place / "file").read_text() == "in the way"


@pytest.mark.parametrize("out", ["in", "in/../in", "."])
def test_inputs_are_never_overwritten(place: Path, photo, models, capsys, out: str) -> None:
    source = photo(place / "in/a.png")
    before = source.read_bytes()
    # a folder is restored to OUT/a.png, a file as well: both would hit the input where OUT is its folder
    given = "in" if out != "." else "./a.png"
    if out == ".":
        source = source.rename(place / "a.png")
    assert run("restore", given, "-o", out) == 2
    error = capsys.readouterr().err
    assert "would overwrite the input" in error
    assert error.count("\n") == 1
    assert source.read_bytes() == before


def test_symlink_to_the_input_folder_is_seen_through(place: Path, photo, models) -> None:
    photo(place / "in/a.png")
    (place / "link").symlink_to(place / "in")
    assert run("restore", "in", "-o", "link") == 2


def test_two_inputs_of_one_name(place: Path, photo, models, capsys) -> None:
    photo(place / "x/a.png")
    photo(place / "y/a.png")
    assert run("restore", "x", "y", "-o", "out") == 2
    error = capsys.readouterr().err
    assert "x/a.png and y/a.png would both be written to out/a.png" in error
    assert error.count("\n") == 1
    assert not (place / "out").exists()
    # the very same photo twice is one photo
    assert run("restore", "x", "x/a.png", "-o", "out") == 0


def test_earlier_results_are_not_taken_for_inputs(place: Path, photo, models) -> None:
    photo(place / "in/a.png")
    for _ in range(2):
        assert run("restore", "in", "-o", "in/out") == 0
    assert not (place / "in/out/out").exists()
    assert (decode("in/out/a.png").pixels == np.array([100, 120, 140]) + BRIGHTER).all()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--edit", "fog=3"], "unknown degradation 'fog'; known: haze, rain"),
        (["--edit", "haze=101"], "a severity is a number in 0..100"),
        (["--edit", "haze=nan"], "a severity is a number in 0..100"),
        (["--edit", "haze"], "is not TYPE=SEVERITY"),
        (["--edit", "haze=1", "--edit", "haze=2"], "each degradation at most once"),
        (["--strength", "2"], "'2' is not a number in 0..1"),
        (["--strength", "much"], "'much' is not a number in 0..1"),
        (["--device", "tpu"], "invalid choice: 'tpu'"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(place: Path, photo, models, capsys, arguments: list[str], told: str) -> None:
    photo(place / "a.png")
    assert run("restore", "a.png", "-o", "out", *arguments) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (place / "out").exists()
