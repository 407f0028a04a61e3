"""Reason, restore, look again: both models behind two calls, for every caller.

from components import inference
models = inference.load("models/champion")          # a folder with reasoner/ and restorer/
models.diagnose([photo])                             # photo: (H, W, 3) uint8 sRGB
models.restore(photo, edits={"haze": 0}, strength=0.5)
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from components.diagnosis import TYPES, Diagnosis
from components.reasoner.model import ReasonerError
from components.reasoner.reader import Reasoner
from components.restorer import network, tiles
from components.restorer.conditioning import condition_vector

# a severity must rise by more than the reasoner's usual error to count as harm
RISE = 12.0


class ModelRefError(ValueError):
    """No model stands behind a reference; the message is one line."""


@dataclass(frozen=True)
class Restored:
    """A restored photo (H, W, 3) uint8, what was said before and after, why the original was kept, seconds."""

    image: np.ndarray
    before: Diagnosis
    after: Diagnosis
    kept: str | None
    timings: dict[str, float]


class Models:
    """A reasoner and the restorer that listens to it; with None for the restorer it only diagnoses."""

    def __init__(self, reasoner: Reasoner, restorer: network.Restorer | None, device: str = "cpu") -> None:
        self.reasoner, self.restorer, self.device = reasoner, restorer, device

    def diagnose(self, images: list[np.ndarray]) -> list[Diagnosis]:
        """Diagnoses of photos (H, W, 3) uint8 of any size."""
        return self.reasoner.diagnose(images)

    def restore(self, image: np.ndarray, edits: dict[str, float] | None = None, strength: float = 1.0) -> Restored:
        """Restore one photo (H, W, 3) uint8 under its diagnosis, changed by `edits` (type -> severity).

        `strength` in 0..1 blends from the original to the restored photo. Do no harm: a photo diagnosed as
        clean comes back unchanged, and so does one on which the second look finds more damage than the first.
        A person's edits are obeyed; the second look then only reports. Raises ValueError for a bad edit or strength.
        """
        if not 0 <= strength <= 1:
            raise ValueError(f"strength {strength:g}: must lie in 0..1")
        began = time.perf_counter()
        reading = self.reasoner.read([image])
        seen = self.reasoner.diagnoses(reading)[0]
        before = seen.edited(edits) if edits else seen
        reasoned = time.perf_counter()
        timings = {"diagnose_s": reasoned - began}
        if before.is_clean or strength == 0:
            unchanged = "no degradation to remove" if before.is_clean else "strength is 0"
            return Restored(image, before, seen, unchanged, timings)
        restored = self.apply(image, before, None if edits else reading.embedding[0], strength)
        painted = time.perf_counter()
        after = self.reasoner.diagnose([restored])[0]
        timings |= {"restore_s": painted - reasoned, "second_look_s": time.perf_counter() - painted}
        kept = None if edits else harm(before, after)
        return Restored(image if kept else restored, before, seen if kept else after, kept, timings)

    @torch.inference_mode()
    def apply(
        self, image: np.ndarray, diagnosis: Diagnosis, embedding: torch.Tensor | None, strength: float = 1.0
    ) -> np.ndarray:
        """The restorer alone: (H, W, 3) uint8 under a given diagnosis and hidden state (D,) or None."""
        if self.restorer is None:
            raise ModelRefError("these models were loaded to diagnose only; load them with a restorer")
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255).to(self.device)
        condition = condition_vector(diagnosis).to(self.device)
        heard = None if embedding is None else embedding.to(self.device)
        restored = pixels + strength * (tiles.restore(self.restorer, pixels, condition, heard) - pixels)
        return (restored * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def harm(before: Diagnosis, after: Diagnosis) -> str | None:
    """Why the result must be held back: the damage in all grew, and the type that rose most; else None."""
    first, second = np.array(before.severities()), np.array(after.severities())
    if second.sum() <= first.sum() + RISE:
        return None
    worst = int((second - first).argmax())
    return (
        f"the second look found more damage ({second.sum():.0f} after {first.sum():.0f}): "
        f"{TYPES[worst]} rose from {first[worst]:.0f} to {second[worst]:.0f}"
    )


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
