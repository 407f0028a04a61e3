"""Reason, restore, look again: both models behind two calls, for every caller.

from components import inference
models = inference.load("models/champion")          # a folder with reasoner/ and restorer/
models.diagnose([photo])                             # photo: (H, W, 3) sRGB, uint8 or uint16
models.restore(photo, edits={"haze": 0}, strength=0.5)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from components.diagnosis import TYPES, Diagnosis
from components.reasoner.model import ReasonerError
from components.reasoner.reader import Reasoner
from components.restorer import network, tiles
from components.restorer.conditioning import condition_vector, told_again

# what is worst in a result must be worse by more than the reasoner's usual error than what was worst in the photo
RISE = 12.0
# a photo of which one thing is said is touched only if that is as sure as this: of ten good photos that the reasoner is
# wrong about, seven are then left alone, and of the gain on degraded ones a sixtieth is lost (docs/experiments.md)
SURE = 0.9
# how often a result is looked at: as it is, and twice more with half of what was left of its strength
LOOKS = 3
# tiles that go through a GPU at once; a processor gains nothing from more than one
GPU_BATCH = 8
BAND_PX = 256


class ModelRefError(ValueError):
    """No model stands behind a reference; the message is one line."""


@dataclass(frozen=True)
class Restored:
    """A restored photo (H, W, 3) of the type that went in, and what was said before and after.

    `strength` in 0..1: how much of the restorer's work is in `image`, 0 where the original was kept.
    `kept`: why it was kept, else None. `weakened`: why `strength` is less than what was asked for, else None.
    `timings`: seconds.
    """

    image: np.ndarray
    before: Diagnosis
    after: Diagnosis
    kept: str | None
    timings: dict[str, float]
    strength: float = 1.0
    weakened: str | None = None

    def told(self) -> dict:
        """All but the pixels, for JSON."""
        return {
            "before": self.before.model_dump(mode="json"),
            "after": self.after.model_dump(mode="json"),
            "kept": self.kept,
            "weakened": self.weakened,
            "strength": self.strength,
            "timings": self.timings,
        }


@dataclass(frozen=True)
class Seen:
    """What the reasoner said of a photo, and the hidden state (D,) it said it from."""

    diagnosis: Diagnosis
    embedding: torch.Tensor


class Models:
    """A reasoner and the restorer that listens to it; with None for the restorer it only diagnoses."""

    def __init__(self, reasoner: Reasoner, restorer: network.Restorer | None, device: str = "cpu") -> None:
        self.reasoner, self.restorer, self.device = reasoner, restorer, device

    def diagnose(self, images: list[np.ndarray]) -> list[Diagnosis]:
        """Diagnoses of photos (H, W, 3) uint8 or uint16 of any size; the reasoner sees 8 bits."""
        return self.reasoner.diagnose([eight_bits(image) for image in images])

    def look(self, image: np.ndarray) -> Seen:
        """What is wrong with one photo (H, W, 3) uint8 or uint16, as `paint` and `settle` want it."""
        reading = self.reasoner.read([eight_bits(image)])
        return Seen(self.reasoner.diagnoses(reading)[0], reading.embedding[0])

    def restore(self, image: np.ndarray, edits: dict[str, float] | None = None, strength: float = 1.0) -> Restored:
        """Restore one photo (H, W, 3) uint8 or uint16 under its diagnosis, changed by `edits` (type -> severity).

        `strength` in 0..1 blends from the original to the restored photo. Do no harm: a photo diagnosed as clean
        comes back unchanged, and so does one of which the first look says one thing without being sure; where the
        second look finds worse than there was, less strength is tried, and at last the original is kept. A person's
        edits are obeyed; the second look then only reports. Raises ValueError for a bad edit or strength.

        Three steps, which a caller who changes its mind may take one by one: `look`, `paint`, `settle`.
        """
        check_strength(strength)
        began = time.perf_counter()
        seen = self.look(image)
        timings = {"diagnose_s": time.perf_counter() - began}
        painted = None
        if untouched(seen.diagnosis.edited(edits or {}), strength, bool(edits)) is None:
            began = time.perf_counter()
            painted = self.paint(image, seen, edits)
            timings["restore_s"] = time.perf_counter() - began
        began = time.perf_counter()
        result = self.settle(image, painted, seen, edits, strength)
        if painted is not None:
            timings["second_look_s"] = time.perf_counter() - began
        return replace(result, timings=timings)

    def paint(
        self,
        image: np.ndarray,
        seen: Seen,
        edits: dict[str, float] | None = None,
        on_tile: Callable[[float], None] | None = None,
    ) -> np.ndarray:
        """The photo restored at full strength, unjudged: (H, W, 3) of the type of `image`.

        Where refinement has taught the restorer to go on, the reasoner looks at the result, and what it still finds may
        be restored once more; but not under a person's edits. `on_tile` hears after each tile which share in 0..1 of
        the work is done; what it raises ends the work. Raises ValueError for a bad edit.
        """
        if edits or self.restorer is None or not self.restorer.may_go_on:
            return self.apply(image, seen.diagnosis.edited(edits or {}), None if edits else seen.embedding, on_tile)
        tell = on_tile or (lambda share: None)
        once = self.apply(image, seen.diagnosis, seen.embedding, lambda share: tell(share / 2))
        now = self.look(once)
        before, left = condition_vector(seen.diagnosis), told_again(condition_vector(now.diagnosis))
        share = float(self.restorer.share(before[None].to(self.device), left[None].to(self.device)))
        if not share:
            tell(1.0)
            return once
        twice = self._painted(once, left, now.embedding, lambda share: tell((1 + share) / 2))
        fade(once, twice, share)
        return twice

    def settle(
        self,
        image: np.ndarray,
        painted: np.ndarray | None,
        seen: Seen,
        edits: dict[str, float] | None = None,
        strength: float = 1.0,
        insist: bool = False,
    ) -> Restored:
        """The photo that is given back, from what `paint` made of it under the same edits; `painted` is used up.

        None for `painted` where `untouched` says that it is not wanted. With `insist`, as with edits, the strength is
        obeyed and the second look only reports. Raises ValueError for a bad edit or strength.
        """
        check_strength(strength)
        before = seen.diagnosis.edited(edits or {})
        obeyed = insist or bool(edits)
        reason = untouched(before, strength, obeyed)
        if reason:
            return Restored(image, before, seen.diagnosis, reason, {}, 0.0)
        assert painted is not None
        reasons: list[str] = []
        fade(image, painted, strength)
        for _ in range(LOOKS):
            after = self.diagnose([painted])[0]
            risen = None if obeyed else harm(before, after)
            if risen is None:
                break
            reasons.append(f"{risen} at strength {strength:g}")
            strength /= 2
            fade(image, painted, 0.5)
        told = "; ".join(reasons) or None
        if risen:
            return Restored(image, before, seen.diagnosis, told, {}, 0.0)
        return Restored(painted, before, after, None, {}, strength, told)

    def apply(
        self,
        image: np.ndarray,
        diagnosis: Diagnosis,
        embedding: torch.Tensor | None,
        on_tile: Callable[[float], None] | None = None,
    ) -> np.ndarray:
        """The restorer alone: (H, W, 3) uint8 or uint16 under a given diagnosis and hidden state (D,) or None."""
        return self._painted(image, condition_vector(diagnosis), embedding, on_tile)

    @torch.inference_mode()
    def _painted(
        self,
        image: np.ndarray,
        condition: torch.Tensor,
        embedding: torch.Tensor | None,
        on_tile: Callable[[float], None] | None,
    ) -> np.ndarray:
        if self.restorer is None:
            raise ModelRefError("these models were loaded to diagnose only; load them with a restorer")
        heard = None if embedding is None else embedding.to(self.device)
        batch = 1 if self.device == "cpu" else GPU_BATCH
        return tiles.restore(self.restorer, image, condition.to(self.device), heard, batch, on_tile)


def check_strength(strength: float) -> None:
    """Raises ValueError where it is not in 0..1."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength {strength:g}: must lie in 0..1")


def untouched(diagnosis: Diagnosis, strength: float, obeyed: bool) -> str | None:
    """Why a photo comes back as it is without a try, or None. `obeyed`: a person insists, or edited the diagnosis."""
    if diagnosis.is_clean:
        return "no degradation to remove"
    if strength == 0:
        return "strength is 0"
    return None if obeyed else doubt(diagnosis)


def doubt(diagnosis: Diagnosis) -> str | None:
    """Why a diagnosis is not to be followed: it says one thing alone and is not sure of it. Else None.

    Two findings that are wrong at once are rare, one is what a good photo is suspected of.
    """
    if len(diagnosis.findings) != 1:
        return None
    ((kind, finding),) = diagnosis.findings.items()
    if finding.confidence >= SURE:
        return None
    return f"only {kind} was found, and not for sure (confidence {finding.confidence:.2f}, {SURE:.2f} is asked for)"


def harm(before: Diagnosis, after: Diagnosis) -> str | None:
    """What is worst after, if that is worse by more than RISE than whatever was worst before; else None.

    A type that rises below that is no harm: noise comes to light where darkness was removed. Held back for it, photos
    lost 0.7 dB on the mean (docs/experiments.md).
    """
    first, second = np.array(before.severities()), np.array(after.severities())
    worst = int(second.argmax())
    if second[worst] - first.max() <= RISE:
        return None
    return f"{TYPES[worst]} rose from {first[worst]:.0f} to {second[worst]:.0f}"


def eight_bits(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of a photo in uint8 (itself) or uint16 (rounded)."""
    if image.dtype == np.uint8:
        return image
    out = np.empty(image.shape, np.uint8)
    for rows in _bands(image):
        # 65535 is 257 times 255
        out[rows] = (image[rows].astype(np.uint32) + 128) // 257
    return out


def fade(image: np.ndarray, restored: np.ndarray, strength: float) -> None:
    """Blend a restored photo, where it lies, with the original: all of it at 1, nothing at 0.

    Both (H, W, 3) of one integer type. In place, because three copies of a very large photo would be too many.
    """
    if strength == 1:
        return
    for rows in _bands(image):
        old = image[rows].astype(np.float32)
        restored[rows] = np.rint(old + np.float32(strength) * (restored[rows] - old))


def _bands(image: np.ndarray) -> Iterator[slice]:
    """The rows of a photo in groups: a whole photo in floating point would be four times its size."""
    return (slice(start, start + BAND_PX) for start in range(0, len(image), BAND_PX))


def load(folder: str | Path, device: str = "cpu", restores: bool = True) -> Models:
    """Models from a folder that holds reasoner/ and restorer/. Raises ModelRefError in one line.

    Without `restores` a reasoner alone will do.
    """
    folder = Path(folder)
    for part in ("reasoner", "restorer") if restores else ("reasoner",):
        if not (folder / part).is_dir():
            raise ModelRefError(f"{folder}: no model here ({part}/ is missing); `rnr models` lists what there is")
    return load_parts(folder / "reasoner", folder / "restorer" if restores else None, device)


def load_parts(reasoner: str | Path, restorer: str | Path | None, device: str = "cpu") -> Models:
    """Models from two folders, as the stages of the pipeline write them. Raises ModelRefError in one line."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelRefError("device cuda: no CUDA device on this machine; use --device cpu")
    try:
        return Models(Reasoner(reasoner, device), network.load(restorer, device) if restorer else None, device)
    except (ReasonerError, network.RestorerError) as error:
        raise ModelRefError(str(error)) from error
