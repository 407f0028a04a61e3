"""The queue before the models: places, order, batches, late and cancelled work, other models without a pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from components.diagnosis import Diagnosis
from components.inference import Models
from components.photos.decode import Photo
from components.serving import service as serving
from components.serving.following import Live
from components.serving.service import FullError, LateError, Service, StoppingError


class Clerk:
    """Stands in for both models: says its own name, remembers its batches, breaks on a photo of level 13."""

    def __init__(self, name: str) -> None:
        self.name, self.batches = name, list[int]()

    def diagnose(self, images: list[np.ndarray]) -> list[Diagnosis]:
        self.batches.append(len(images))
        if any((image == 13).all() for image in images):
            raise RuntimeError("cursed")
        return [Diagnosis(scene=self.name, objects=[str(image[0, 0, 0])]) for image in images]

    def restore(self, image: np.ndarray, edits: dict[str, float] | None = None) -> None:
        if self.name == "broken":
            raise RuntimeError("weights\nare torn")


def photo(level: int) -> Callable[[], Photo]:
    return lambda: Photo(np.full((4, 6, 3), level, np.uint8), None, None, None, "PNG", 8)


def clerks(ref: str) -> Models:
    return cast(Models, Clerk(ref))


def start(**options: Any) -> Service:
    return Service(lambda: "one", clerks, **options)


def hold(service: Service) -> threading.Event:
    """Keep the models busy until the event is set."""
    begun, over = threading.Event(), threading.Event()

    def work(live: Live) -> None:
        begun.set()
        over.wait(20)

    service.submit(work)
    assert begun.wait(5)
    return over


def test_diagnoses_that_wait_are_made_in_one_batch_and_the_order_is_kept() -> None:
    order: list[object] = []
    with start(batch=3) as service:
        over = hold(service)
        first = [service.diagnose(photo(level)) for level in (1, 2, 3, 4)]
        between = service.submit(lambda live: order.append(list(cast(Clerk, live.models).batches)))
        last = service.diagnose(photo(5))
        over.set()
        assert [f.result(5).diagnosis.objects for f in (*first, last)] == [["1"], ["2"], ["3"], ["4"], ["5"]]
        between.result(5)
        assert order == [[3, 1]]
        assert first[0].result().size == (6, 4)
        assert first[0].result().model == "one"


def test_a_batch_holds_no_more_pixels_than_it_may() -> None:
    with start(batch_pixels=100) as service:
        over = hold(service)
        waiting = [service.diagnose(photo(1), pixels) for pixels in (60, 40, 1, 500, 1)]
        over.set()
        for future in waiting:
            future.result(5)
        assert cast(Clerk, service.live.models).batches == [2, 1, 1, 1]


def test_one_bad_photo_costs_no_other_of_its_batch() -> None:
    def unreadable() -> Photo:
        raise ValueError("torn")

    with start() as service:
        over = hold(service)
        good, cursed, torn = (service.diagnose(read) for read in (photo(1), photo(13), unreadable))
        over.set()
        assert good.result(5).diagnosis.objects == ["1"]
        with pytest.raises(RuntimeError, match="cursed"):
            cursed.result(5)
        with pytest.raises(ValueError, match="torn"):
            torn.result(5)


def test_places_are_few_and_given_back() -> None:
    with start(places=2) as service:
        with service.place(), service.place():
            with pytest.raises(FullError, match="all 2 places") as refused, service.place():
                pass
            assert 1 <= refused.value.retry_s <= serving.LONGEST_RETRY_S
        with service.place():
            assert service.taken == 1


def test_work_that_waited_too_long_is_refused_and_cancelled_work_is_gone() -> None:
    done: list[int] = []
    with start(queue_s=0.2) as service:
        over = hold(service)
        cancelled = service.submit(lambda live: done.append(1))
        late = service.submit(lambda live: done.append(2))
        assert cancelled.cancel()
        assert len(service._jobs) == 1
        time.sleep(0.3)
        over.set()
        with pytest.raises(LateError, match=r"longer than 0\.2 s"):
            late.result(5)
        assert service.submit(lambda live: 3).result(5) == 3
    assert done == []


def test_a_stop_finishes_what_has_a_place_and_takes_nothing_new() -> None:
    with start() as service, service.place():
        over = hold(service)
        waiting = service.diagnose(photo(7))
        service.stop()
        with pytest.raises(StoppingError), service.place():
            pass
        last = service.submit(lambda live: "still done")
        over.set()
        assert waiting.result(5).diagnosis.objects == ["7"]
        assert last.result(5) == "still done"
    assert not service.alive
    with pytest.raises(StoppingError):
        service.submit(lambda live: None)


def test_other_models_take_over_between_two_pieces_of_work() -> None:
    wanted = ["one"]
    with Service(lambda: wanted[0], clerks, reload_s=0.05) as service:
        over = hold(service)
        wanted[0] = "two"
        deadline = time.monotonic() + 5
        while service.live.ref == "one" and time.monotonic() < deadline:
            time.sleep(0.01)
        waiting = service.diagnose(photo(1))
        over.set()
        assert (waiting.result(5).model, waiting.result().diagnosis.scene) == ("two", "two")
        text = service.metrics.text().decode()
        assert 'rnr_model_info{model="two"} 1.0' in text
        assert 'model="one"' not in text
        assert 'rnr_model_reloads_total{outcome="done"} 1.0' in text


def test_models_that_cannot_take_over_are_told_once_and_the_old_stay(caplog: pytest.LogCaptureFixture) -> None:
    wanted: list[str | Exception] = ["one"]
    loads: list[str] = []

    def pinned() -> str:
        if isinstance(wanted[0], Exception):
            raise wanted[0]
        return wanted[0]

    def load(ref: str) -> Models:
        loads.append(ref)
        return clerks(ref)

    with Service(pinned, load) as service:
        wanted[0] = "broken"
        assert [service._following.look(), service._following.look()] == [False, False]
        wanted[0] = OSError("registry is away")
        assert [service._following.look(), service._following.look()] == [False, False]
        assert service.live.ref == "one"
        assert loads == ["one", "broken"]
        wanted[0] = "two"
        assert service._following.look()
        assert service.live.ref == "two"
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert lines == ["models stay at one: weights are torn", "models stay at one: registry is away"]


def test_models_that_are_broken_from_the_start_are_not_served() -> None:
    with pytest.raises(RuntimeError, match="torn"):
        Service(lambda: "broken", clerks)
