"""One photo of a visitor: what is asked of it, and its way through the models.

The rule of what is restored when: a photo of at most WHOLE_PIXELS is restored whole at every move of a slider. A larger
one is drafted first, shrunk to DRAFT_PIXELS and not looked at a second time; whole it follows as soon as the sliders
rest. What is written for download is always whole, and goes the way of `rnr restore`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from components.diagnosis import TYPES
from components.inference import Models, Restored, Seen, eight_bits, fade, untouched
from components.photos.decode import Photo, decode
from rnr.app.turns import Turns
from rnr.photos_commands import write_restored

# some half a second on two cores
WHOLE_PIXELS = 800_000
DRAFT_PIXELS = 500_000
# longest side of what the page shows of a photo, and of its thumbnail
SCREEN_PX, THUMB_PX = 1600, 192
PREVIEW_QUALITY = 92
# bytes: file systems take 255, and the sidecar's name is longer
LONGEST_NAME = 160
# hears the share in 0..1 that is done; may raise to end the work
Watch = Callable[[float], None]


@dataclass(frozen=True)
class Outcome:
    """What the page shows of a picture: the preview, for which version of the wishes, and what was judged of it.

    `restored` has no pixels, and is None for a draft.
    """

    version: int
    preview: Path
    restored: Restored | None = None


@dataclass
class Picture:
    """A photo, the wishes of its owner, and what has come of it.

    `source` and `private` are never served; `shelf` is, under a name nobody can guess. `version` counts the wishes.
    """

    number: int
    name: str
    source: Path
    private: Path
    shelf: Path
    version: int = 0
    resets: int = 0
    edits: dict[str, float] = field(default_factory=dict)
    strength: float = 1.0
    insist: bool = False
    seen: Seen | None = None
    large: bool = False
    facts: str = ""
    notes: tuple[str, ...] = ()
    outcome: Outcome | None = None
    share: float = 0.0
    # which edits each kept painting was made under
    painted: dict[str, tuple] = field(default_factory=dict)

    @property
    def before(self) -> Path:
        return self.shelf / "before.jpg"

    @property
    def thumb(self) -> Path:
        return self.shelf / "thumb.jpg"

    @property
    def is_current(self) -> bool:
        """Whether what is shown is of the last wishes, be it a draft."""
        return self.outcome is not None and self.outcome.version == self.version

    @property
    def is_done(self) -> bool:
        return self.is_current and self.outcome is not None and self.outcome.restored is not None

    def levels(self) -> dict[str, int]:
        """Where the sliders stand: severity per type."""
        severities = self.seen.diagnosis.severities() if self.seen else [0.0] * len(TYPES)
        found = {kind: round(severity) for kind, severity in zip(TYPES, severities, strict=True)}
        return found | {kind: round(severity) for kind, severity in self.edits.items()}

    def wish(self, levels: Mapping[str, float], strength: float, insist: bool = False) -> bool:
        """Take over the sliders; a slider that stands where the diagnosis put it is no edit. Whether that is new."""
        if self.seen is None:
            return False
        found = {kind: round(s) for kind, s in zip(TYPES, self.seen.diagnosis.severities(), strict=True)}
        edits = {kind: float(level) for kind, level in levels.items() if round(level) != found[kind]}  # type: ignore[index]
        if (edits, strength, insist) == (self.edits, self.strength, self.insist):
            return False
        self.edits, self.strength, self.insist = edits, strength, insist
        self.version += 1
        self.share = 0.0
        return True

    def reset(self) -> None:
        """No wishes: as it was diagnosed. The sliders are to follow, even those that stood for no wish."""
        self.edits, self.strength, self.insist = {}, 1.0, False
        self.resets += 1
        self.version += 1
        self.share = 0.0


def plain_name(given: str) -> str:
    """The name of an uploaded file as its owner knows it, without anything that could lead out of a folder."""
    name = re.sub(r"[\x00-\x1f\x7f]", "", given.replace("\\", "/").rpartition("/")[2]).lstrip(". ")
    stem, dot, suffix = name.rpartition(".") if "." in name else (name, "", "")
    suffix = suffix[:8]
    while len(f"{stem}{dot}{suffix}".encode()) > LONGEST_NAME:
        stem = stem[:-1]
    return f"{stem}{dot}{suffix}" or "photo"


class Darkroom:
    """What is done with a picture, by one pair of models, visitors in turn."""

    def __init__(self, models: Models, turns: Turns) -> None:
        self.models, self.turns = models, turns

    def look(self, picture: Picture) -> None:
        """Read the file and diagnose it. Raises PhotoError."""
        photo = decode(picture.source, deep=True)
        height, width = photo.pixels.shape[:2]
        with self.turns.turn():
            seen = self.models.look(photo.pixels)
        picture.facts = f"{width} × {height} px, {photo.format}, {photo.bits} bits"
        picture.notes = photo.notes
        picture.large = width * height > WHOLE_PIXELS
        if picture.large:
            shrunk = _shrunk(eight_bits(photo.pixels), (DRAFT_PIXELS / (width * height)) ** 0.5 * max(width, height))
            np.save(picture.private / "draft.npy", np.asarray(shrunk))
        _save(picture.before, photo.pixels, SCREEN_PX, photo)
        _save(picture.thumb, photo.pixels, THUMB_PX, photo)
        picture.seen = seen

    def draft(self, picture: Picture, watch: Watch) -> None:
        """A quick look at what the wishes do to a large photo."""
        version, strength = picture.version, picture.strength
        small = np.load(picture.private / "draft.npy")
        with self.turns.turn():
            painted = self._painted(picture, small, "draft", watch)
        if painted is None:
            preview = picture.before
        else:
            fade(small, painted, strength)
            preview = picture.shelf / f"after-{version}-draft.jpg"
            _save(preview, painted, SCREEN_PX)
        picture.outcome = Outcome(version, preview)

    def finish(self, picture: Picture, watch: Watch) -> None:
        """The whole photo under the wishes, judged."""
        version = picture.version
        photo, restored = self._settled(picture, watch)
        preview = picture.before
        if restored.kept is None:
            preview = picture.shelf / f"after-{version}.jpg"
            _save(preview, restored.image, SCREEN_PX, photo)
        picture.outcome = Outcome(version, preview, replace(restored, image=restored.image[:0]))
        # the one that a browser may just be fetching stays
        for old in sorted(picture.shelf.glob("after-*.jpg"), key=lambda path: path.stat().st_mtime)[:-2]:
            old.unlink()

    def write(self, picture: Picture, folder: Path, name: str, watch: Watch) -> Path:
        """The file for download, as `rnr restore` writes it, with its sidecar. Raises PhotoError."""
        photo, restored = self._settled(picture, watch)
        photo = replace(photo, pixels=restored.image)
        write_restored(picture.source, folder / name, photo, restored, picture.edits, picture.strength)
        return folder / name

    def _settled(self, picture: Picture, watch: Watch) -> tuple[Photo, Restored]:
        photo = decode(picture.source, deep=True)
        edits, strength, insist = dict(picture.edits), picture.strength, picture.insist
        assert picture.seen is not None
        with self.turns.turn():
            painted = self._painted(picture, photo.pixels, "whole", watch)
            return photo, self.models.settle(photo.pixels, painted, picture.seen, edits or None, strength, insist)

    def _painted(self, picture: Picture, pixels: np.ndarray, kind: str, watch: Watch) -> np.ndarray | None:
        """Restored at full strength, from the disk where only the strength has changed; None: not to be touched."""
        assert picture.seen is not None
        edits = dict(picture.edits)
        obeyed = picture.insist or bool(edits)
        if untouched(picture.seen.diagnosis.edited(edits), picture.strength, obeyed):
            return None
        key, file = tuple(sorted(edits.items())), picture.private / f"{kind}-painted.npy"
        if picture.painted.get(kind) == key:
            return np.load(file)

        def on_tile(share: float) -> None:
            watch(share)
            self.turns.give_way()

        painted = self.models.paint(pixels, picture.seen, edits or None, on_tile)
        picture.painted.pop(kind, None)
        np.save(file, painted)
        picture.painted[kind] = key
        return painted


def _shrunk(pixels: np.ndarray, longest: float) -> Image.Image:
    """(H, W, 3) uint8 with its longest side at most `longest` px."""
    image = Image.fromarray(pixels)
    scale = min(1.0, longest / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3) if scale < 1 else image


def _save(path: Path, pixels: np.ndarray, longest: int, photo: Photo | None = None) -> None:
    """A JPEG for the screen; of pixels that are still in their own colours with their profile."""
    icc = photo.icc if photo is not None and photo.own_colours else None
    _shrunk(eight_bits(pixels), longest).save(path, "JPEG", quality=PREVIEW_QUALITY, subsampling=0, icc_profile=icc)
