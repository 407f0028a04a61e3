"""When a presence counts: thresholds chosen on validation photos and stored as calibration.json."""

from __future__ import annotations

import torch

from components.diagnosis import TYPES
from components.reasoner.reader import Reasoner

# share of clean validation pictures that must pass as clean; they come from few photos, so the margin is wide
CLEAN_PASS = 0.99


def calibrate(reasoner: Reasoner, images, diagnoses, cleans) -> tuple[dict, dict[str, float]]:
    """Presence thresholds of best F1 per type, at least one half; the gate that lets CLEAN_PASS of the clean photos
    pass; and the scores of that choice.

    `images` with their true `diagnoses`, and `cleans`: validation pictures with nothing wrong.
    """
    presence, _ = reasoner.severities(reasoner.read(images))
    truth = torch.tensor([d.severities() for d in diagnoses]) >= 1
    thresholds, f1s = {}, []
    for index, kind in enumerate(TYPES):
        best = (-1.0, 0.5)
        for step in range(10, 19):
            threshold = step / 20
            said = presence[:, index] >= threshold
            hits = float((said & truth[:, index]).sum())
            f1 = 2 * hits / max(1.0, float(said.sum() + truth[:, index].sum()))
            # ties go to the threshold nearest to one half
            best = max(best, (round(f1, 6), threshold), key=lambda b: (b[0], -abs(b[1] - 0.5)))
        thresholds[kind] = best[1]
        f1s.append(best[0])
    degraded = reasoner.degraded(reasoner.read(cleans)).sort().values
    gate = float(degraded[min(len(degraded) - 1, int(CLEAN_PASS * len(degraded)))]) + 1e-4
    scores = {"val_macro_f1": sum(f1s) / len(f1s)}
    return {"threshold": thresholds, "clean_gate": round(min(0.99, max(0.5, gate)), 4)}, scores
