"""The models behind a queue: one thread that thinks, a bounded line before it, and a new champion without a pause.

    from components.serving.service import Service
    with Service(pinned=lambda: "pretrained", load=rnr.load) as service, service.place():
        diagnosed = service.diagnose(lambda: decode("fog.jpg")).result()
        answer = service.submit(lambda live: live.models.restore(photo.pixels)).result()

Whoever wants an answer takes a `place` before it holds anything large, so that places times the largest upload bounds
the memory; work waits in the order in which it came; diagnoses that wait one behind the other are made in one batch.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Self, TypeVar

from components.diagnosis import Diagnosis
from components.inference import Models
from components.photos.decode import Photo
from components.serving.following import Following, Live
from components.serving.metrics import Metrics

T = TypeVar("T")

# the largest wait that a client is ever asked for
LONGEST_RETRY_S = 120
# how much one more piece of work changes the usual time of all
RECENT = 0.2


class ServiceError(RuntimeError):
    """The service cannot take or do this work now; one line. `retry_s`: seconds after which it is worth a try."""

    def __init__(self, line: str, retry_s: int) -> None:
        super().__init__(line)
        self.retry_s = retry_s


class FullError(ServiceError):
    """Every place is taken."""


class LateError(ServiceError):
    """The work waited longer than it may."""


class StoppingError(ServiceError):
    """The service is being stopped and takes nothing new."""


@dataclass(frozen=True)
class Diagnosed:
    """What was said of a photo, by which models. `photo` has lost its pixels: a batch's would add up."""

    photo: Photo
    size: tuple[int, int]
    diagnosis: Diagnosis
    model: str


@dataclass(eq=False)
class _Job(Generic[T]):
    """Work that waits; `read` in place of `work` where it is a diagnosis, of a photo of about `pixels` pixels."""

    work: Callable[[Live], T] | None
    read: Callable[[], Photo] | None = None
    pixels: int = 0
    future: Future[T] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Service:
    """Models, the thread that asks them, and the thread that looks for newer ones.

    `pinned()` names the models that should answer, `load(ref)` loads what it named; both may raise. `places`: how many
    may wait or be at work. `batch`, `batch_pixels`: how much one batch of diagnoses holds. `queue_s`: how long work
    may wait before it begins. `reload_s`: seconds between looks at `pinned`, 0 for never.
    """

    def __init__(
        self,
        pinned: Callable[[], str],
        load: Callable[[str], Models],
        places: int = 16,
        batch: int = 8,
        batch_pixels: int = 50_000_000,
        queue_s: float = 120,
        reload_s: float = 0,
    ) -> None:
        self.places, self.batch, self.batch_pixels = places, batch, batch_pixels
        self.queue_s, self.reload_s = queue_s, reload_s
        self.metrics = Metrics()
        self._following = Following(pinned, load, self.metrics)
        self._jobs: deque[_Job[Any]] = deque()
        self._ready = threading.Condition()
        self._taken = 0
        self._usual_s = 1.0
        self._stopping = False
        self._ended = threading.Event()
        self._worker = threading.Thread(target=self._work, name="models", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="reload", daemon=True)

    def __enter__(self) -> Self:
        self._worker.start()
        if self.reload_s:
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take nothing new, finish what waits, end the threads."""
        self.stop()
        with self._ready:
            self._ready.notify_all()
        self._worker.join()
        if self.reload_s and self._watcher.is_alive():
            self._ended.set()
            # one that is in the middle of a load holds nobody up: it is a daemon
            self._watcher.join(timeout=1)

    @property
    def live(self) -> Live:
        """The models that answer now."""
        return self._following.live

    @property
    def alive(self) -> bool:
        """Whether the thread that asks the models is at work."""
        return self._worker.is_alive()

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def taken(self) -> int:
        """Places in use."""
        return self._taken

    def stop(self) -> None:
        """Give no more places; what has one is finished. May be called from a signal handler: it takes no lock."""
        self._stopping = True

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places. Raises FullError or StoppingError."""
        with self._ready:
            if self._stopping:
                raise StoppingError("the service is being stopped", self.retry_s())
            if self._taken >= self.places:
                raise FullError(f"all {self.places} places are taken", self.retry_s())
            self._taken += 1
            self.metrics.places.set(self._taken)
        try:
            yield
        finally:
            with self._ready:
                self._taken -= 1
                self.metrics.places.set(self._taken)

    def retry_s(self) -> int:
        """Whole seconds until half of those that hold places have probably been answered."""
        return min(LONGEST_RETRY_S, max(1, math.ceil(self._taken * self._usual_s / 2)))

    def submit(self, work: Callable[[Live], T]) -> Future[T]:
        """Have `work` done with the models, in turn and in their thread. The future raises what `work` raises, or
        LateError; it may be cancelled until the work begins."""
        return self._put(_Job(work))

    def diagnose(self, read: Callable[[], Photo], pixels: int = 0) -> Future[Diagnosed]:
        """Have a photo diagnosed, in one batch with others that wait beside it.

        `read` gives the photo, in the models' thread; `pixels` is its size where that is known.
        """
        return self._put(_Job(None, read, pixels))

    def _put(self, job: _Job[T]) -> Future[T]:
        with self._ready:
            if self._stopping and not self._taken:
                raise StoppingError("the service is being stopped", self.retry_s())
            self._jobs.append(job)
            self.metrics.queue.set(len(self._jobs))
            self._ready.notify()
        job.future.add_done_callback(lambda future: self._forget(job) if future.cancelled() else None)
        return job.future

    def _forget(self, job: _Job[Any]) -> None:
        """Cancelled work leaves the line at once, and its upload the memory."""
        with self._ready, contextlib.suppress(ValueError):
            self._jobs.remove(job)
            self.metrics.queue.set(len(self._jobs))

    def _work(self) -> None:
        while jobs := self._take():
            live, began = self.live, time.monotonic()
            if jobs[0].work is None:
                self.metrics.batches.observe(len(jobs))
                _diagnose(live, jobs)
            else:
                _settle(jobs[0], jobs[0].work, live)
            seconds = time.monotonic() - began
            self.metrics.work.labels("diagnose" if jobs[0].work is None else "restore").observe(seconds)
            self._usual_s += RECENT * (seconds / len(jobs) - self._usual_s)
            # neither a photo nor an answer lives on while nothing is asked
            del jobs

    def _take(self) -> list[_Job[Any]]:
        """The next work, or the diagnoses that come next; waits for some. Empty when the service has stopped."""
        with self._ready:
            taken: list[_Job[Any]] = []
            while not taken:
                while not self._jobs:
                    if self._stopping and not self._taken:
                        return []
                    # a stop is no notification: a signal handler may set it
                    self._ready.wait(timeout=0.2)
                pixels = 0
                while self._jobs and len(taken) < self.batch:
                    job = self._jobs[0]
                    pixels += job.pixels
                    if taken and (job.work or taken[0].work or pixels > self.batch_pixels):
                        break
                    self._jobs.popleft()
                    waited = time.monotonic() - job.since
                    if waited > self.queue_s:
                        if job.future.set_running_or_notify_cancel():
                            line = f"waited {waited:.0f} s, longer than {self.queue_s:g} s"
                            job.future.set_exception(LateError(line, self.retry_s()))
                    elif job.future.set_running_or_notify_cancel():
                        self.metrics.waits.observe(waited)
                        taken.append(job)
                self.metrics.queue.set(len(self._jobs))
            return taken

    def _watch(self) -> None:
        while not self._ended.wait(self.reload_s):
            self._following.look()


def _diagnose(live: Live, jobs: list[_Job[Any]]) -> None:
    """All of a batch at once; where that fails each alone, so that one photo costs no other."""
    photos: list[tuple[_Job[Any], Photo]] = []
    for job in jobs:
        try:
            assert job.read is not None
            photos.append((job, job.read()))
        except Exception as error:
            job.future.set_exception(error)
    try:
        said = live.models.diagnose([photo.pixels for _, photo in photos]) if photos else []
    except Exception as error:
        if len(photos) == 1:
            photos[0][0].future.set_exception(error)
            return
        for job, photo in photos:
            _settle(job, _diagnose_alone, live, photo)
        return
    for (job, photo), diagnosis in zip(photos, said, strict=True):
        job.future.set_result(_diagnosed(live, photo, diagnosis))


def _diagnose_alone(live: Live, photo: Photo) -> Diagnosed:
    return _diagnosed(live, photo, live.models.diagnose([photo.pixels])[0])


def _diagnosed(live: Live, photo: Photo, diagnosis: Diagnosis) -> Diagnosed:
    height, width = photo.pixels.shape[:2]
    return Diagnosed(
        replace(photo, pixels=photo.pixels[:0, :0].copy(), alpha=None), (width, height), diagnosis, live.ref
    )


def _settle(job: _Job[Any], work: Callable[..., Any], *given: object) -> None:
    try:
        job.future.set_result(work(*given))
    except Exception as error:
        job.future.set_exception(error)
