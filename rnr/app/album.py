"""One visitor's photos: what is to be done next, and a thread that does it while there is something to do.

    album = Album(private, shelf, darkroom)
    album.add([("fog.jpg", path)])      # path is moved into the album
    album.adjust({"haze": 20}, 0.5)     # of the chosen picture
    album.wait()

Every wish takes effect at once: what is being computed for an older wish, or for a photo behind the one in front, is
given up at the next tile.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from components.photos.decode import PhotoError
from rnr import console
from rnr.app.picture import Darkroom, Picture, plain_name
from rnr.photos_commands import sidecar

ALL_NAME = "restored.zip"


class GivenUp(Exception):
    """Something more urgent is to be done."""


class Job(NamedTuple):
    """One step of work: "look", "draft" or "finish" a picture in some version, or "write" an order."""

    kind: str
    number: int
    version: int = 0


@dataclass(frozen=True)
class Order:
    """Pictures that are wanted as files, by number."""

    number: int
    pictures: tuple[int, ...]


@dataclass(frozen=True)
class Saved:
    """A file that waits to be fetched, and the sidecar of a single photo."""

    number: int
    file: Path
    sidecar: Path | None
    many: int


class Album:
    """Photos in the order in which they came, the chosen one in front. All methods may be called from any thread."""

    def __init__(self, private: Path, shelf: Path, darkroom: Darkroom) -> None:
        self.private, self.shelf, self.darkroom = private, shelf, darkroom
        self.pictures: list[Picture] = []
        self.faults: list[tuple[str, str]] = []
        self.chosen: Picture | None = None
        self.order: Order | None = None
        self.saved: Saved | None = None
        # counts changes of anything that the page shows
        self.revision = 0
        self.closed = False
        self._count = 0
        self._lock = threading.RLock()
        self._worker: threading.Thread | None = None

    def add(self, files: list[tuple[str, Path]]) -> None:
        """Photos under the names their owner knows; the files are moved into the album. The first comes in front."""
        with self._lock:
            first = None
            for name, path in files:
                self._count += 1
                private, shelf = self.private / str(self._count), self.shelf / secrets.token_hex(16)
                for folder in (private, shelf):
                    folder.mkdir(parents=True)
                source = private / f"source{path.suffix.lower()}"
                shutil.move(path, source)
                picture = Picture(self._count, plain_name(name), source, private, shelf)
                self.pictures.append(picture)
                first = first or picture
            self.chosen = first or self.chosen
            self.faults = []
            self._changed()

    def choose(self, number: int) -> None:
        """Bring a picture to the front."""
        with self._lock:
            self.chosen = next((picture for picture in self.pictures if picture.number == number), self.chosen)
            self._changed()

    def adjust(self, levels: Mapping[str, float], strength: float) -> None:
        """Wishes for the picture in front: severity per type, strength in 0..1."""
        with self._lock:
            if self.chosen is not None and self.chosen.wish(levels, strength, self.chosen.insist):
                self._unsave()
                self._changed()

    def reset(self) -> None:
        """The picture in front as it was diagnosed."""
        with self._lock:
            if self.chosen is not None and self.chosen.seen is not None:
                self.chosen.reset()
                self._unsave()
                self._changed()

    def insist(self) -> None:
        """Show what was held back of the picture in front, or hold it back again."""
        with self._lock:
            chosen = self.chosen
            if chosen is not None and chosen.wish(chosen.levels(), chosen.strength, not chosen.insist):
                self._unsave()
                self._changed()

    def want(self, everything: bool) -> None:
        """Order the picture in front, or all of them, as files."""
        with self._lock:
            wanted = self.pictures if everything else [self.chosen] if self.chosen else []
            if wanted:
                self._count += 1
                self.order = Order(self._count, tuple(picture.number for picture in wanted))
                self._unsave()
                self._changed()

    def dismiss(self) -> None:
        """The faults were read."""
        with self._lock:
            self.faults = []
            self._changed()

    def clear(self) -> None:
        """Forget all photos and delete their files, now."""
        with self._lock:
            self.pictures, self.faults, self.chosen, self.order, self.saved = [], [], None, None, None
            self._changed()
            # what a job that is being given up still writes goes when the visitor does
            for folder in (self.private, self.shelf):
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """End the work and delete everything."""
        with self._lock:
            self.closed = True
            worker = self._worker
        if worker is not None:
            worker.join()
        self.clear()

    @property
    def busy(self) -> bool:
        with self._lock:
            return self._worker is not None

    def wait(self, timeout_s: float = 60.0) -> None:
        """Until nothing is left to do. Raises TimeoutError."""
        end = time.monotonic() + timeout_s
        while self.busy:
            if time.monotonic() > end:
                raise TimeoutError("the album is still busy")
            time.sleep(0.01)

    def next_job(self) -> Job | None:
        """The most urgent of what is to be done: the picture in front, then orders, then the others."""
        with self._lock:
            if self.closed:
                return None
            others = [picture for picture in self.pictures if picture is not self.chosen]
            if self.chosen is not None and (job := _step(self.chosen, drafts=True)):
                return job
            if self.order is not None:
                ordered = [picture for picture in others if picture.number in self.order.pictures]
                return next(filter(None, map(_step, ordered)), Job("write", self.order.number))
            unseen = next((picture for picture in others if picture.seen is None), None)
            return Job("look", unseen.number) if unseen else next(filter(None, map(_step, others)), None)

    def _changed(self) -> None:
        """Tell the page, and see that somebody works."""
        self.revision += 1
        if self._worker is None and self.next_job() is not None:
            self._worker = threading.Thread(target=self._work, name="album", daemon=True)
            self._worker.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                job = self.next_job()
                if job is None:
                    self._worker = None
                    self.revision += 1
                    return
                picture = next((picture for picture in self.pictures if picture.number == job.number), None)
            try:
                self._do(job, picture)
            except GivenUp:
                continue
            except Exception as error:  # one bad photo must not cost the others; it is named
                self._failed(job, picture, error)
            with self._lock:
                self.revision += 1

    def _do(self, job: Job, picture: Picture | None) -> None:
        def watch(share: float) -> None:
            with self._lock:
                if self.next_job() != job:
                    raise GivenUp
                if picture is not None:
                    picture.share = share
                self.revision += 1

        if picture is None:
            self._write(job, watch)
        elif job.kind == "look":
            self.darkroom.look(picture)
        elif job.kind == "draft":
            self.darkroom.draft(picture, watch)
        else:
            self.darkroom.finish(picture, watch)

    def _write(self, job: Job, watch) -> None:
        with self._lock:
            order = self.order
            if order is None or order.number != job.number:
                raise GivenUp
            wanted = [picture for picture in self.pictures if picture.number in order.pictures]
        folder = self.shelf / secrets.token_hex(16)
        try:
            files, taken = [], set[str]()
            for picture in wanted:
                files.append(self.darkroom.write(picture, folder, _unlike(picture.name, taken), watch))
                watch(1.0)
            file, beside = files[0], None
            if len(order.pictures) == 1:
                beside = sidecar(file)
            else:
                file = folder / ALL_NAME
                with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                    for part in (part for photo in files for part in (photo, sidecar(photo))):
                        archive.write(part, part.name)
                        part.unlink()
            with self._lock:
                if self.order != order:
                    raise GivenUp
                self.order, self.saved = None, Saved(order.number, file, beside, len(files))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _unsave(self) -> None:
        """What was written for an earlier wish is not to be fetched any more."""
        if self.saved is not None:
            shutil.rmtree(self.saved.file.parent, ignore_errors=True)
            self.saved = None

    def _failed(self, job: Job, picture: Picture | None, error: Exception) -> None:
        with self._lock:
            if picture is None:
                self.order = None
                self.faults.append((ALL_NAME, f"could not be written: {console.one_line(error)}"))
                return
            if picture not in self.pictures:
                return
            told = console.one_line(error) if isinstance(error, PhotoError) else f"{type(error).__name__}: {error}"
            self.faults.append((picture.name, told.removeprefix(f"{picture.source}: ")))
            place = self.pictures.index(picture)
            self.pictures.remove(picture)
            if self.chosen is picture:
                self.chosen = self.pictures[min(place, len(self.pictures) - 1)] if self.pictures else None
            for folder in (picture.private, picture.shelf):
                shutil.rmtree(folder, ignore_errors=True)


def _step(picture: Picture, drafts: bool = False) -> Job | None:
    """What a picture needs next."""
    if picture.seen is None:
        return Job("look", picture.number)
    if drafts and picture.large and not picture.is_current:
        return Job("draft", picture.number, picture.version)
    return None if picture.is_done else Job("finish", picture.number, picture.version)


def _unlike(name: str, taken: set[str]) -> str:
    """The name, or name-2 and so on where an archive has it already; `taken` grows."""
    stem, dot, suffix = name.rpartition(".")
    stem, dot, suffix = (stem, dot, suffix) if dot else (name, "", "")
    found, count = name, 1
    while found.lower() in taken:
        count += 1
        found = f"{stem}-{count}{dot}{suffix}"
    taken.add(found.lower())
    return found
