"""A trained reasoner at work: photos in, `Diagnosis` out; severities in one pass for the reward.

from components.reasoner.reader import Reasoner
Reasoner("models/reasoner").diagnose([photo])        # photo: (H, W, 3) uint8
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from components.diagnosis import BLUR_KINDS, TYPES, Diagnosis, Finding, narrate
from components.reasoner import model as models
from components.reasoner import passes, pictures, speed
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
PROBABLE = 0.5
VIEWS_PER_PASS = 64
# scene and objects are named only when the reasoner is this sure
LEAST_SURE_NAME = 0.5


@dataclass
class Reading:
    """Raw answers of B photos: option probabilities per slot (mean over views), and the hidden state.

    `probabilities[s]` is (B, options of slot s); `embedding` (B, D) is the state from which findings are read.
    """

    probabilities: list[torch.Tensor]
    embedding: torch.Tensor


def expected_severities(table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Presence in [0, 1] and expected severity where present (1..100), (B, 7) each, of digits (B, 7, 10)."""
    levels = torch.arange(1, LEVELS + 1)
    presence = 1 - table[..., 0]
    expected = (table[..., 1:] * level_severity(levels.float())).sum(-1) / presence.clamp(min=1e-6)
    return presence, expected.clamp(1, 100)


def _owners(views: list[pictures.Views]) -> torch.Tensor:
    """(V,) the photo that each view belongs to."""
    return torch.cat([torch.full((len(own),), number) for number, own in enumerate(views)])


def _passes(views: list[pictures.Views]) -> Iterator[tuple[slice, pictures.Views]]:
    """Whole photos in groups of about VIEWS_PER_PASS views: which of all views, and these joined."""
    start, group = 0, []
    for number, own in enumerate(views):
        group.append(own)
        held = sum(len(one) for one in group)
        if held >= VIEWS_PER_PASS or number == len(views) - 1:
            yield slice(start, start + held), pictures.Views.joined(group)
            start, group = start + held, []


def counted(presence: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """(B, 7) which of the presences (B, 7) count as findings: in a photo in which one type reaches its threshold (7),
    all that are more probably there than not. Only good photos need more: there a false alarm costs most."""
    return (presence >= thresholds).any(1, keepdim=True) & (presence >= thresholds.clamp(max=PROBABLE))


def eight_bits(images: torch.Tensor) -> list[np.ndarray]:
    """Pictures (B, 3, H, W) in [0, 1] as they would be saved: (H, W, 3) uint8 each."""
    return list((images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())


class Reasoner:
    """The model, its layout and its calibrated thresholds, loaded from a folder."""

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        self.model, self.tokenizer, self.sight = models.load(folder, device)
        if device == "cpu":
            speed.quicken(self.model)
        self.device = device
        self.layout = self.sight.layout(self.tokenizer)
        positions = models.position_ids(self.model, self.layout, self.sight.grid).to(device)
        self.passes = passes.Passes(self.model, self.layout.template, positions, self.sight.grid)
        path = Path(folder) / CALIBRATION_FILE
        calibration = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self.thresholds = torch.tensor([calibration.get("threshold", {}).get(t, 0.5) for t in TYPES])

    def views(self, images: list[np.ndarray]) -> list[pictures.Views]:
        """What is looked at of each photo (H, W, 3) uint8 of any size."""
        sight = self.sight
        return [pictures.views_of(image, sight.thumbnail_px, sight.crop_px, sight.views) for image in images]

    def read(self, images: list[np.ndarray]) -> Reading:
        """Decode the answers: structure is given, values are decoded block by block, greedily.

        The keys and values of what went before are kept: the prompt with its pictures is run once, each block once
        with its slots blank, and once more, decided, together with the blank slots of the next.
        """
        views = self.views(images)
        owner = _owners(views)
        table = torch.zeros(len(images), *self.layout.table.shape)
        embedding = torch.zeros(len(images), self.model.config.text_config.hidden_size)
        for photos, seen in _passes(views):
            self._decode(table, embedding, owner[photos], seen)
        parts = zip(table.unbind(1), self.layout.options, strict=True)
        return Reading([part[:, : len(options)] for part, options in parts], embedding)

    @torch.inference_mode()
    def _decode(self, table: torch.Tensor, embedding: torch.Tensor, owner: torch.Tensor, views: pictures.Views) -> None:
        """Decode some photos with all their views, into their rows of `table` (B, S, most options) and `embedding`;
        owner (V,) is the row of each view."""
        layout = self.layout
        ids = layout.template.repeat(len(owner), 1)
        weight = 1 / torch.bincount(owner)[owner].float()[:, None, None]
        cache = self.passes.cache(len(owner))
        features: list[torch.Tensor] | None = self._sight(views)
        for block in (THOUGHT, FINDINGS, FACTORS_BLOCK):
            # the prompt comes with the first block, each block again, decided, with the next
            begin = 0 if block == THOUGHT else layout.starts[block - 1]
            slots = torch.nonzero(layout.blocks == block).flatten()
            places = layout.positions[slots]
            hidden = self.passes.run(ids, begin, layout.starts[block + 1], cache, features, places - 1)
            features = None
            logits = self.model.lm_head(hidden).float().cpu()
            logits = logits.gather(2, layout.table[slots].expand(len(owner), -1, -1))
            told = logits.masked_fill_(~layout.offered[slots], float("-inf")).softmax(-1).mul_(weight)
            means = torch.zeros(len(table), *told.shape[1:]).index_add_(0, owner, told)
            mine = torch.unique(owner)
            table[mine[:, None], slots] = means[mine]
            ids[:, places] = (
                layout.table[slots].expand(len(table), -1, -1).gather(2, means.argmax(-1, True))[owner, :, 0]
            )
            if block == FINDINGS:
                own = torch.isin(slots, layout.findings)
                embedding.index_add_(0, owner, hidden[:, own.to(hidden.device)].mean(1).float().cpu() * weight[:, 0])

    def _sight(self, views: pictures.Views) -> list[torch.Tensor]:
        """The vision tower's features of views."""
        return self.passes.see(views)

    def _run(self, ids: torch.Tensor, begin: int, end: int, cache: passes.Cache | None, features) -> torch.Tensor:
        """Hidden states (V, end - begin, D) of positions begin..end of sequences (V, L), given what is in the cache."""
        kept = cache or self.passes.cache(len(ids))
        return self.passes.run(ids, begin, end, kept, features, torch.arange(begin, end))

    def score_severities(self, images: list[np.ndarray] | torch.Tensor) -> torch.Tensor:
        """(B, 7) expected severity in [0, 100] per type, absent counted as 0; one pass over all views.

        Also takes a float tensor (B, 3, H, W) in [0, 1], which is quantised to 8 bits as a saved photo is.
        """
        if isinstance(images, torch.Tensor):
            images = eight_bits(images)
        views = self.views(images)
        owner = _owners(views)
        table = torch.zeros(len(images), len(TYPES), LEVELS + 1)
        with torch.inference_mode():
            for photos, seen in _passes(views):
                ids = self.layout.template.repeat(len(seen), 1)
                # nothing that comes after the last finding can change it
                places = self.layout.positions[self.layout.findings] - 1
                cache = self.passes.cache(len(seen))
                hidden = self.passes.run(ids, 0, int(places.max()) + 1, cache, self._sight(seen), places)
                logits = self.model.lm_head(hidden)[..., self.layout.digits].float().cpu()
                table.index_add_(0, owner[photos], logits.softmax(-1))
        presence, severity = expected_severities(table / torch.bincount(owner)[:, None, None])
        return presence * severity

    def severities(self, reading: Reading) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 7) probability of presence, and (B, 7) expected severity where present (1..100)."""
        return expected_severities(torch.stack([reading.probabilities[i] for i in self.layout.findings.tolist()], 1))

    def present(self, reading: Reading) -> torch.Tensor:
        """(B, 7) which types count as findings."""
        return counted(self.severities(reading)[0], self.thresholds)

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
            if name != NOTHING and name not in objects and float(row(f"object.{place}").max()) >= LEAST_SURE_NAME:
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
            if factors.get("kind", "motion") != "motion":
                factors["angle_deg"] = 0.0
            findings[kind] = Finding(
                severity=round(float(severity[index]), 2), confidence=round(float(presence[index]), 4), factors=factors
            )
        scene = scene if float(scene_row.max()) >= LEAST_SURE_NAME else ""
        reasoning = narrate(evidence, {k: f.severity for k, f in findings.items()}, scene, objects)
        return Diagnosis(reasoning=reasoning, evidence=evidence, findings=findings, scene=scene, objects=objects)
