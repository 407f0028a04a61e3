"""A trained reasoner at work: photos in, `Diagnosis` out; severities in one pass for the reward.

from components.reasoner.reader import Reasoner
Reasoner("models/reasoner").diagnose([photo])        # photo: (H, W, 3) uint8
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from components.diagnosis import BLUR_KINDS, TYPES, Diagnosis, Finding, narrate
from components.reasoner import model as models
from components.reasoner import pictures
from components.reasoner.answer import (
    FACTOR_SCALES,
    FACTORS_BLOCK,
    FINDINGS,
    LEVELS,
    NOTHING,
    OBJECT_SLOTS,
    THOUGHT,
    level_factor,
    level_severity,
)

CALIBRATION_FILE = "calibration.json"
VIEWS_PER_PASS = 64
# scene and objects are named only when the reasoner is this sure
SURE = 0.5


@dataclass
class Reading:
    """Raw answers of B photos: option probabilities per slot (mean over views), and the hidden state.

    `probabilities[s]` is (B, options of slot s); `embedding` (B, D) is the state from which findings are read.
    """

    probabilities: list[torch.Tensor]
    embedding: torch.Tensor


@dataclass
class Sighted:
    """Vision features of all views in groups of VIEWS_PER_PASS, and the photo (V,) that each view belongs to."""

    owner: torch.Tensor
    seen: list


class Reasoner:
    """The model, its layout and its calibrated thresholds, loaded from a folder."""

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        self.model, self.tokenizer, self.sight = models.load(folder, device)
        self.device = device
        self.layout = self.sight.layout(self.tokenizer)
        self.positions = models.position_ids(self.model, self.layout, self.sight.grid)
        path = Path(folder) / CALIBRATION_FILE
        calibration = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self.thresholds = torch.tensor([calibration.get("threshold", {}).get(t, 0.5) for t in TYPES])
        # the least probability of "degraded" with which a photo counts as degraded at all
        self.clean_gate: float = calibration.get("clean_gate", 0.5)

    @torch.inference_mode()
    def _see(self, views: list[pictures.Views]) -> Sighted:
        """Run the vision tower over all views of B photos, once for every pass that follows."""
        owner = torch.cat([torch.full((len(own),), i) for i, own in enumerate(views)])
        joined = pictures.Views.joined(views)
        seen = []
        for start in range(0, len(joined), VIEWS_PER_PASS):
            patches = pictures.look(joined[start : start + VIEWS_PER_PASS])
            grid = torch.tensor(self.sight.grid).repeat(len(patches), 1)
            seen.append(
                self.model.model.get_image_features(
                    patches.flatten(0, 1).to(self.device), grid.to(self.device), return_dict=True
                )
            )
        return Sighted(owner, seen)

    @torch.inference_mode()
    def _read(self, sighted: Sighted, ids: torch.Tensor) -> Reading:
        """One teacher-forced pass; ids (B, L) holds what was decided so far for each photo."""
        count = len(ids)
        slots = [torch.zeros(count, len(options)) for options in self.layout.options]
        embedding = torch.zeros(count, self.model.config.text_config.hidden_size)
        share = 1 / torch.bincount(sighted.owner, minlength=count).float()
        for number, features in enumerate(sighted.seen):
            owner = sighted.owner[number * VIEWS_PER_PASS : (number + 1) * VIEWS_PER_PASS]
            hidden = self.model.model(
                input_ids=ids[owner].to(self.device),
                mm_encoder_outputs={"image": features},
                position_ids=self.positions.expand(3, len(owner), -1).to(self.device),
            )[0]
            weight = share[owner][:, None]
            logits = self.model.lm_head(hidden[:, self.layout.positions - 1]).float().cpu()
            for slot, options in enumerate(self.layout.options):
                slots[slot].index_add_(0, owner, logits[:, slot, options].softmax(-1) * weight)
            findings = self.layout.positions[self.layout.findings] - 1
            embedding.index_add_(0, owner, hidden[:, findings].mean(1).float().cpu() * weight)
        return Reading(slots, embedding)

    def _views(self, images: list[np.ndarray]) -> list[pictures.Views]:
        sight = self.sight
        return [pictures.views_of(image, sight.thumbnail_px, sight.crop_px, sight.views) for image in images]

    def read(self, images: list[np.ndarray]) -> Reading:
        """Three passes, one a block: each sees what the blocks before it decided."""
        sighted = self._see(self._views(images))
        ids = self.layout.template.repeat(len(images), 1)
        decided: Reading | None = None
        for block in (THOUGHT, FINDINGS, FACTORS_BLOCK):
            reading = self._read(sighted, ids)
            if decided is None:
                decided = reading
            for slot in torch.nonzero(self.layout.blocks == block).flatten().tolist():
                decided.probabilities[slot] = reading.probabilities[slot]
                best = reading.probabilities[slot].argmax(-1)
                ids[:, self.layout.positions[slot]] = self.layout.options[slot][best]
            if block == FINDINGS:
                decided.embedding = reading.embedding
        assert decided is not None
        return decided

    def score_severities(self, images: list[np.ndarray] | torch.Tensor) -> torch.Tensor:
        """(B, 7) expected severity in [0, 100] per type, absent counted as 0; one pass over all views.

        Also takes a float tensor (B, 3, H, W) in [0, 1], which is quantised to 8 bits as a saved photo is.
        """
        if isinstance(images, torch.Tensor):
            eight_bit = (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
            images = list(eight_bit.cpu().numpy())
        reading = self._read(self._see(self._views(images)), self.layout.template.repeat(len(images), 1))
        presence, severity = self.severities(reading)
        return presence * severity

    def severities(self, reading: Reading) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 7) probability of presence, and (B, 7) expected severity where present (1..100)."""
        levels = torch.arange(1, LEVELS + 1)
        table = torch.stack([reading.probabilities[i] for i in self.layout.findings.tolist()], 1)
        presence = 1 - table[..., 0]
        expected = (table[..., 1:] * level_severity(levels.float())).sum(-1) / presence.clamp(min=1e-6)
        return presence, expected.clamp(1, 100)

    def degraded(self, reading: Reading) -> torch.Tensor:
        """(B,) in [0, 1]: how surely anything at all is wrong with the photo.

        The mean of two log-odds, of the verdict `degraded` and of the likeliest type: either alone is fooled more
        easily (docs/experiments.md).
        """
        verdict = reading.probabilities[self.layout.index["overall"]][:, 1]
        likeliest = self.severities(reading)[0].amax(1)
        return ((verdict.logit(eps=1e-6) + likeliest.logit(eps=1e-6)) / 2).sigmoid()

    def present(self, reading: Reading) -> torch.Tensor:
        """(B, 7) which types count as findings: at or above their threshold, in a photo whose verdict is degraded."""
        presence, _ = self.severities(reading)
        return (presence >= self.thresholds) & (self.degraded(reading) >= self.clean_gate)[:, None]

    def diagnoses(self, reading: Reading) -> list[Diagnosis]:
        """The readings in the one language."""
        presence, severity = self.severities(reading)
        found = self.present(reading)
        return [
            self._diagnosis(reading, photo, presence[photo], severity[photo], found[photo])
            for photo in range(len(presence))
        ]

    def diagnose(self, images: list[np.ndarray]) -> list[Diagnosis]:
        """Diagnoses of photos (H, W, 3) uint8 of any size."""
        return self.diagnoses(self.read(images))

    def _diagnosis(self, reading, photo: int, presence, severity, found) -> Diagnosis:
        def row(name: str) -> torch.Tensor:
            return reading.probabilities[self.layout.index[name]][photo]

        def level(name: str) -> float:
            return float((row(name) * torch.arange(LEVELS + 1)).sum())

        scene_row = row("scene")
        scene = self.layout.slots[self.layout.index["scene"]].options[int(scene_row.argmax())]
        objects = []
        for place in range(OBJECT_SLOTS):
            options = self.layout.slots[self.layout.index[f"object.{place}"]].options
            name = options[int(row(f"object.{place}").argmax())]
            if name != NOTHING and name not in objects and float(row(f"object.{place}").max()) >= SURE:
                objects.append(name)
        evidence = {
            s.name.split(".")[1]: level(s.name) / LEVELS for s in self.layout.slots if s.name.startswith("evidence.")
        }
        findings = {}
        for index, kind in enumerate(TYPES):
            if not found[index]:
                continue
            factors: dict[str, float | str] = {}
            if kind == "blur":
                factors["kind"] = BLUR_KINDS[int(row("blur.kind").argmax())]
            for owner, name in FACTOR_SCALES:
                if owner == kind:
                    # an angle has no mean: the likeliest counts
                    value = float(row(f"{kind}.{name}").argmax()) if name == "angle_deg" else level(f"{kind}.{name}")
                    factors[name] = level_factor(kind, name, value)
            findings[kind] = Finding(
                severity=round(float(severity[index]), 2), confidence=round(float(presence[index]), 4), factors=factors
            )
        scene = scene if float(scene_row.max()) >= SURE else ""
        reasoning = narrate(evidence, {k: f.severity for k, f in findings.items()}, scene, objects)
        return Diagnosis(reasoning=reasoning, evidence=evidence, findings=findings, scene=scene, objects=objects)
