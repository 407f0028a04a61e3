"""One case of the comparison: settings chosen on validation photos, then every method on the same test photos.

Peers come from benchmarks/peers.py, degraded photos from benchmarks/cases.py. What a peer scored is written down as
soon as it is known (`Journal`), so that slow ones can be measured in several sittings; our system is always measured.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from benchmarks import peers
from benchmarks.cases import Example, spread
from benchmarks.peers import Peer, Setting
from components.degradations.severity import psnr as quick_psnr
from components.evaluation import metrics

T = TypeVar("T")
# validation photos: of a chain of two, and of anything with a slow peer in it
CHAIN_PHOTOS, SLOW_PHOTOS = 3, 2
DEGRADED, OURS = "degraded", "ours"
TRUE, BLIND = "ours, true diagnosis", "ours, no diagnosis"
SYSTEM = (OURS, TRUE, BLIND)
Restore = Callable[[Example], np.ndarray | None]


class Journal:
    """Answers by question, one JSON line each in `path`; a torn last line is asked again. None keeps nothing.

    A question holds digests of the pictures and of the peers' source: whatever changes is measured anew.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.answers = path, dict[str, dict]()
        self.source = hashlib.sha256(Path(peers.__file__).read_bytes()).hexdigest()
        text = path.read_text(encoding="utf-8") if path and path.is_file() else ""
        self.torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                self.answers |= json.loads(line)

    def ask(self, chain: Chain, example: Example, what: str, answer: Callable[[], dict]) -> dict:
        """The answer to `what` of a chain on an example: the one written down, or `answer()`."""
        digest = hashlib.sha256(f"{self.source}/{chain.links_text()}/{what}/".encode())
        digest.update(example.degraded.tobytes() + example.clean.tobytes())
        key = digest.hexdigest()[:32]
        if key not in self.answers:
            self.answers[key] = answer()
            if self.path:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with open(self.path, "a", encoding="utf-8") as file:
                    file.write("\n" * self.torn + json.dumps({key: self.answers[key]}) + "\n")
                self.torn = False
        return self.answers[key]


@dataclass(frozen=True)
class Chain:
    """One peer or several in a row, each with its setting."""

    links: tuple[tuple[Peer, Setting], ...]

    @property
    def name(self) -> str:
        return ", then ".join(peer.name for peer, _ in self.links)

    @property
    def slow(self) -> bool:
        return any(peer.slow for peer, _ in self.links)

    def links_text(self) -> str:
        """Peers and settings, as in "NLM (15)"."""
        return ", then ".join(f"{peer.name} ({', '.join(f'{v:.4g}' for v in s)})" for peer, s in self.links)

    def restore(self, example: Example) -> np.ndarray:
        """The degraded picture of an example through every link."""
        image = example.degraded
        for peer, setting in self.links:
            image = peer.run(image, setting, example.truth)
        return image


@dataclass
class Outcome:
    """Rows (photo, method, setting, psnr, ssim, seconds, mib) of a case, its test examples, and the peers' chains."""

    case: str
    rows: pd.DataFrame
    examples: list[Example]
    chains: dict[str, Chain]


def hold(
    val: list[Example], test: list[Example], rivals: list[Peer], system: dict[str, Restore], slow: int, journal: Journal
) -> Outcome:
    """Our system (name -> restore) and the peers that suit it on one case; slow peers on `slow` test photos.

    On a single degradation every peer is measured; on a mixture the peer and the chain of two that gained most on
    validation, each on the validation photos it was tried on.
    """
    suited = [peer for peer in rivals if peer.suits(test[0].truth)]
    singles = [tune(peer, val, journal) for peer in suited]
    chains = [chain for chain, _ in singles]
    if len(test[0].truth.types) > 1 and singles:
        pairs = list(_pairs(foremost(singles, test[0].truth.types), val, journal))
        chains = [max(found, key=lambda entry: entry[1])[0] for found in (singles, pairs) if found]
    rows = [_scored(example, DEGRADED, "", example.degraded, 0.0, None) for example in test]
    for name, restore in system.items():
        for example in test:
            image, seconds, mib = measured(partial(restore, example))
            if image is not None:
                rows.append(_scored(example, name, "", image, seconds, mib))
    for chain in chains:
        for index in spread(len(test), slow) if chain.slow else range(len(test)):
            rows.append(journal.ask(chain, test[index], "score", partial(_answer, chain, test[index])))
    return Outcome(test[0].case, pd.DataFrame(rows), test, {chain.name: chain for chain in chains})


def tune(peer: Peer, val: list[Example], journal: Journal) -> tuple[Chain, float]:
    """A peer at its best setting on validation photos, and what it gains there in dB."""
    tried = [Chain(((peer, setting),)) for setting in peer.settings(val[0].truth)]
    if len(tried) == 1 and len(val[0].truth.types) == 1:
        return tried[0], 0.0  # nothing to choose
    return _best(tried, val[:SLOW_PHOTOS] if peer.slow else val, journal)


def foremost(singles: list[tuple[Chain, float]], types: tuple[str, ...]) -> list[tuple[Chain, float]]:
    """The two that gained most alone for each type of a mixture: others would add hours and little else."""
    kept = set[str]()
    for kind in types:
        for_it = [entry for entry in singles if kind in entry[0].links[0][0].types]
        kept |= {chain.name for chain, _ in sorted(for_it, key=lambda entry: -entry[1])[:2]}
    return [entry for entry in singles if entry[0].name in kept]


def _pairs(
    singles: list[tuple[Chain, float]], val: list[Example], journal: Journal
) -> Iterator[tuple[Chain, float]]:  # fmt: skip
    """Every chain of two peers for different types, with settings found one after the other, and its gain in dB.

    A slow peer only goes first: what comes after it is then cheap to choose, and sigma is the true one there.
    """
    truth = val[0].truth
    for one, _ in singles:
        for two, _ in singles:
            (first, _), (second, start) = one.links[0], two.links[0]
            here, there = first.types & set(truth.types), second.types & set(truth.types)
            if first is second or second.slow or len(here | there) < 2:
                continue
            photos = val[: SLOW_PHOTOS if first.slow else CHAIN_PHOTOS]
            head, _ = _best([Chain(((first, s), (second, start))) for s in first.settings(truth)], photos, journal)
            yield _best([Chain((head.links[0], (second, s))) for s in second.settings(truth)], photos, journal)


def _best(tried: list[Chain], photos: list[Example], journal: Journal) -> tuple[Chain, float]:
    gains = []
    for chain in tried:
        found = [journal.ask(chain, example, "gain", partial(_gain, chain, example))["db"] for example in photos]
        gains.append(float(np.mean(found)))
    best = int(np.argmax(gains))
    return tried[best], gains[best]


@lru_cache(maxsize=256)
def _first(peer: Peer, setting: Setting, example: Example) -> np.ndarray:
    """An example after one link, which is not run again for every link that may follow."""
    return peer.run(example.degraded, setting, example.truth)


def _gain(chain: Chain, example: Example) -> dict[str, float]:
    """What a chain gains on an example, `db`."""
    image = _first(*chain.links[0], example)
    for peer, setting in chain.links[1:]:
        image = peer.run(image, setting, example.truth)
    return {"db": quick_psnr(image, example.clean) - quick_psnr(example.degraded, example.clean)}


def _answer(chain: Chain, example: Example) -> dict:
    image, seconds, mib = measured(lambda: chain.restore(example))
    return _scored(example, chain.name, chain.links_text(), image, seconds, mib)


def _scored(
    example: Example, method: str, setting: str, image: np.ndarray, seconds: float, mib: float | None
) -> dict:  # fmt: skip
    scores = {"psnr": metrics.psnr(image, example.clean), "ssim": metrics.ssim(image, example.clean)}
    return {"photo": example.photo, "method": method, "setting": setting, **scores, "seconds": seconds, "mib": mib}


def measured(action: Callable[[], T]) -> tuple[T, float, float | None]:
    """What `action` gives, its seconds, and how many MiB the process held at its peak beyond those before it.

    Memory is None where the system does not tell (Linux does): the kernel's high-water mark is set back first, and
    what the allocator keeps for later is given back, else it would hide what the action takes.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        rest: float | None = _status("VmRSS")
    except (OSError, AttributeError):
        rest = None
    began = time.perf_counter()
    result = action()
    seconds = time.perf_counter() - began
    return result, seconds, None if rest is None else max(0.0, _status("VmHWM") - rest)


def _status(name: str) -> float:
    """A line of /proc/self/status in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name + ":")).split()[1]) / 1024
