"""What the page does, without a browser: albums, drafts, wishes that come too fast, downloads, files that vanish."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from components.diagnosis import Diagnosis
from components.inference import Models, Seen
from components.photos.decode import Photo, decode
from components.photos.encode import encode
from components.reasoner.reader import Reasoner
from rnr.app import command, picture, words
from rnr.app.album import Album
from rnr.app.picture import Darkroom, plain_name
from rnr.app.turns import Turns
from rnr.app.visitors import Visitors
from rnr.photos_commands import Job, restore_one
from tests.rnr.conftest import run

LIFT = 40


class Stand(Models):
    """Haze 60 below grey 100, snow 90 from 200 on, nothing between; restoring makes LIFT brighter, in four tiles."""

    def __init__(self) -> None:
        super().__init__(cast(Reasoner, None), None)
        self.looks, self.paints = 0, 0
        self.tile = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def diagnose(self, images: list[np.ndarray]) -> list[Diagnosis]:
        found = []
        for image in images:
            level = float(image.mean()) / (257 if image.dtype == np.uint16 else 1)
            haze, snow = {"haze": {"severity": 60, "confidence": 0.9}}, {"snow": {"severity": 90, "confidence": 0.9}}
            said = haze if level < 100 else snow if level >= 200 else {}
            found.append(Diagnosis.model_validate({"findings": said, "reasoning": ["It is <b>grey</b>."]}))
        return found

    def look(self, image: np.ndarray) -> Seen:
        self.looks += 1
        return Seen(self.diagnose([image])[0], torch.zeros(4))

    def paint(self, image, seen, edits=None, on_tile=None) -> np.ndarray:
        self.paints += 1
        for tile in range(1, 5):
            if on_tile is not None:
                on_tile(tile / 4)
            self.tile.set()
            assert self.go_on.wait(20)
        lift = LIFT + sum((edits or {}).values())
        scale = 257 if image.dtype == np.uint16 else 1
        return np.clip(image.astype(int) + int(lift) * scale, 0, 255 * scale).astype(image.dtype)


@pytest.fixture
def models() -> Stand:
    return Stand()


@pytest.fixture
def visitors(models: Stand) -> Iterator[Visitors]:
    here = Visitors(Darkroom(models, Turns()), grace_s=0)
    yield here
    models.go_on.set()
    here.close()


@pytest.fixture
def album(visitors: Visitors) -> Album:
    return visitors.album("me")


@pytest.fixture
def grey(tmp_path: Path):
    """Make a photo of one grey level, to be given away."""

    def make(name: str, level: int = 80, **options: object) -> tuple[str, Path]:
        folder = tmp_path / f"given-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        Image.new("RGB", (60, 40), (level, level, level)).save(folder / name, **options)  # type: ignore[arg-type]
        return name, folder / name

    return make


def shown(album: Album) -> int:
    """The grey level of what the page shows in front."""
    assert album.chosen is not None and album.chosen.outcome is not None
    return round(float(decode(album.chosen.outcome.preview).pixels.mean()))


def test_photos_are_diagnosed_and_restored_and_a_bad_one_is_named(album: Album, grey, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    album.add([grey("fog.png"), ("broken.jpg", tmp_path / "broken.jpg"), grey("fine.jpg", 150)])
    album.wait()
    assert [(p.name, p.is_done) for p in album.pictures] == [("fog.png", True), ("fine.jpg", True)]
    assert album.faults == [
        ("broken.jpg", "not a photo in a known format (.jpg, .jpeg, .png, .webp, .tif, .tiff, .bmp, .gif)")
    ]
    assert shown(album) == 80 + LIFT
    assert "One photo was left out. The others are done." in words.faults(album)
    assert "2 of 2 done" in words.strip(album)
    album.choose(album.pictures[1].number)
    assert "the very file you brought" in words.verdict(album.chosen)
    assert 'class="compare alone"' in words.compare(album.chosen)


def test_strength_needs_no_model_and_severities_no_new_diagnosis(album: Album, models: Stand, grey) -> None:
    album.add([grey("fog.png")])
    album.wait()
    assert (models.looks, models.paints) == (1, 1)
    assert album.chosen is not None
    album.adjust(album.chosen.levels(), 0.5)
    album.wait()
    assert (shown(album), models.looks, models.paints) == (80 + LIFT // 2, 1, 1)
    album.adjust({**album.chosen.levels(), "haze": 20}, 1)
    album.wait()
    assert (shown(album), models.looks, models.paints) == (80 + LIFT + 20, 1, 2)
    assert "Your sliders were obeyed" in words.verdict(album.chosen)
    album.reset()
    album.wait()
    assert (shown(album), album.chosen.levels()["haze"], models.looks) == (80 + LIFT, 60, 1)


def test_an_older_wish_is_given_up_at_the_next_tile(album: Album, models: Stand, grey) -> None:
    models.go_on.clear()
    album.add([grey("fog.png")])
    assert models.tile.wait(20)
    assert album.chosen is not None
    for level in (10, 20, 30):
        album.adjust({**album.chosen.levels(), "haze": level}, 1)
    models.go_on.set()
    album.wait()
    assert shown(album) == 80 + LIFT + 30
    assert models.paints == 2


def test_the_photo_in_front_comes_first(album: Album, models: Stand, grey) -> None:
    models.go_on.clear()
    album.add([grey(f"{n}.png") for n in range(3)])
    assert models.tile.wait(20)
    album.choose(album.pictures[2].number)
    job = album.next_job()
    assert job is not None and (job.kind, job.number) == ("look", album.pictures[2].number)
    models.go_on.set()
    album.wait()
    assert all(p.is_done for p in album.pictures)


def test_what_was_held_back_is_said_and_can_be_seen(album: Album, grey, models: Stand, monkeypatch) -> None:
    monkeypatch.setattr("components.inference.LOOKS", 1)
    monkeypatch.setattr(f"{__name__}.LIFT", 130)
    album.add([grey("fog.png", 75)])
    album.wait()
    told = words.verdict(album.chosen)
    assert "Kept as it was" in told
    assert "snow rose from 0 to 90 at strength 1" in told
    assert shown(album) == 75
    assert words.can_insist(album.chosen)
    album.insist()
    album.wait()
    assert (shown(album), models.paints) == (205, 1)
    assert "advised against" in words.verdict(album.chosen)
    album.insist()
    album.wait()
    assert shown(album) == 75


def test_a_large_photo_is_drafted_first(album: Album, models: Stand, grey, monkeypatch) -> None:
    monkeypatch.setattr(picture, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(picture, "DRAFT_PIXELS", 600)
    models.go_on.clear()
    album.add([grey("fog.png")])
    assert models.tile.wait(20)
    job = album.next_job()
    assert job is not None and job.kind == "draft"
    models.go_on.set()
    album.wait()
    assert album.chosen is not None and album.chosen.is_done
    assert np.load(album.chosen.private / "draft.npy").shape == (20, 30, 3)
    album.chosen.outcome = picture.Outcome(album.chosen.version, album.chosen.before)
    assert "Draft" in words.verdict(album.chosen)


@pytest.mark.parametrize("name", ["a photo (1).jpg", "deep.tif", "deep.png", "fine.jpg"])
def test_saved_is_what_rnr_restore_writes(album: Album, models: Stand, grey, tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ada"
    given, path = grey(name, 150 if name == "fine.jpg" else 80, exif=exif)
    if name.startswith("deep"):
        form = "TIFF" if name.endswith("tif") else "PNG"
        pixels = np.full((40, 60, 3), 20_000, np.uint16)
        encode(path, pixels, Photo(pixels, None, None, exif.tobytes(), form, 16))
    expected = tmp_path / "out" / name
    restore_one(models, Job(path, Path(name)), expected, {}, 1.0)
    source = path.read_bytes()
    album.add([(given, path)])
    album.want(everything=False)
    album.wait()
    assert album.saved is not None and album.saved.sidecar is not None
    assert album.saved.file.name == name
    assert album.saved.file.read_bytes() == expected.read_bytes()
    assert (expected.read_bytes() == source) == (name == "fine.jpg")
    assert decode(album.saved.file, deep=True).pixels.dtype == (np.uint16 if name.startswith("deep") else np.uint8)
    with Image.open(album.saved.file) as image:
        assert image.getexif()[ExifTags.Base.Artist] == "Ada"
    # what was saved for an older wish can no longer be fetched
    album.adjust({**album.chosen.levels(), "rain": 5}, 1)  # type: ignore[union-attr]
    assert album.saved is None


def test_all_photos_are_one_archive_with_every_name_once(album: Album, grey) -> None:
    album.add([grey("a.png"), grey("a.png", 50), grey("b.jpg", 150)])
    album.want(everything=True)
    album.wait()
    assert album.saved is not None
    with zipfile.ZipFile(album.saved.file) as archive:
        names = sorted(archive.namelist())
    photos = ["a-2.png", "a.png", "b.jpg"]
    assert names == sorted(photos + [f"{name}.diagnosis.json" for name in photos])
    assert [path.name for path in album.saved.file.parent.iterdir()] == ["restored.zip"]


def test_files_vanish_with_their_owner(visitors: Visitors, grey) -> None:
    mine, yours = visitors.album("me"), visitors.album("you")
    for album in (mine, yours):
        album.add([grey("fog.png")])
        album.wait()
    assert mine.shelf != yours.shelf
    assert not mine.shelf.is_relative_to(yours.shelf)
    assert not mine.private.is_relative_to(visitors.served)
    visitors.leave("me")
    visitors.leave("you")
    # who comes back in time finds everything
    assert visitors.album("you") is yours
    visitors.sweep()
    assert not mine.shelf.exists() and not mine.private.exists()
    assert yours.pictures[0].before.exists()
    yours.clear()
    assert not yours.shelf.exists() and not yours.private.exists()
    assert (yours.pictures, yours.chosen) == ([], None)
    yours.add([grey("again.png")])
    yours.wait()
    assert yours.pictures[0].is_done
    visitors.close()
    assert not visitors.root.exists()


def test_turns_are_taken_in_the_order_of_asking() -> None:
    turns, order, threads = Turns(), list[int](), []

    def compute(number: int) -> None:
        with turns.turn():
            order.append(number)

    with turns.turn():
        for number in range(5):
            threads.append(threading.Thread(target=compute, args=(number,)))
            threads[-1].start()
            while len(turns._queue) < number + 2:
                pass
        turns.give_way()
        order.append(99)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4, 99]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("../../etc/passwd.jpg", "passwd.jpg"),
        ("C:\\photos\\fog (1).jpg", "fog (1).jpg"),
        ("..", "photo"),
        ("a\nb\x00.png", "ab.png"),
        ("Straße, früh.JPG", "Straße, früh.JPG"),
        ("ä" * 300 + ".jpeg", "ä" * 77 + ".jpeg"),
    ],
)
def test_names_are_kept_but_lead_nowhere(given: str, name: str) -> None:
    assert plain_name(given) == name


def test_nothing_from_outside_is_taken_for_html(album: Album, grey) -> None:
    _, path = grey("x.png")
    album.add([("<img src=x onerror=alert(1)>${alert(2)}.png", path), grey("y.png", 50)])
    album.wait()
    front = album.chosen
    for html in (words.compare(front), words.strip(album), words.verdict(front), words.diagnosis(front)):
        assert "<img src=x" not in html
    assert "It is &lt;b&gt;grey&lt;/b&gt;." in words.diagnosis(front)


def test_other_machines_are_let_in_only_with_a_password(capsys, monkeypatch) -> None:
    monkeypatch.delenv(command.TOKEN, raising=False)
    assert run("app", "--host", "0.0.0.0", "--port", "0") == 2
    told = capsys.readouterr().err
    assert told == (
        "rnr: --host 0.0.0.0: others could see this page; set a password in the environment variable RNR_TOKEN\n"
    )
    assert command.login("geheim")("any name", "geheim")
    assert not command.login("geheim")("any name", "gehei\xe9")
    assert [command.is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_a_taken_port_is_said_before_any_model_is_loaded(capsys) -> None:
    with command.listen("127.0.0.1", 0) as taken:
        assert run("app", "--port", taken.getsockname()[1], "--model", "nowhere") == 2
    told = capsys.readouterr().err
    assert "already taken; give another --port, or 0 for any free one" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("option", ["--share", "--port=65536", "--port=x"])
def test_wrong_options_are_one_line(option: str, capsys) -> None:
    assert run("app", option) == 2
    assert capsys.readouterr().err.count("\n") == 1
