"""When a presence counts: thresholds chosen on validation photos and stored as calibration.json."""

from __future__ import annotations

import torch

from components.diagnosis import TYPES
from components.reasoner.reader import Reasoner

# share of clean validation pictures that the verdict alone must let pass; the thresholds of the types let all pass
CLEAN_PASS = 0.95
LEAST, STEPS = 0.5, 9
# ... except what they are surer of than this: one odd picture must not make a type impossible to find
MOST = 0.95
# a threshold stands this far above what a clean picture reached
MARGIN = 1e-4


def calibrate(reasoner: Reasoner, images, diagnoses, cleans) -> tuple[dict, dict[str, float]]:
    """Presence thresholds per type, the gate of the verdict, and the scores of that choice.

    A threshold is the one of best F1, but at least one half and higher than the presence of its type on any clean
    picture (up to MOST): a false alarm on a good photo costs more than a missed finding, and the types differ in how
    easily a good photo is taken for them. `images` with their true `diagnoses`, and `cleans`: validation pictures
    with nothing wrong.
    """
    presence, _ = reasoner.severities(reasoner.read(images))
    reading = reasoner.read(cleans)
    alarms = reasoner.severities(reading)[0].amax(0)
    truth = torch.tensor([d.severities() for d in diagnoses]) >= 1
    thresholds, f1s = {}, []
    for index, kind in enumerate(TYPES):
        least = max(LEAST, min(MOST, float(alarms[index]) + MARGIN))
        best = (-1.0, least)
        for step in range(STEPS):
            threshold = least + (1 - least) * step / (STEPS + 1)
            said = presence[:, index] >= threshold
            hits = float((said & truth[:, index]).sum())
            f1 = 2 * hits / max(1.0, float(said.sum() + truth[:, index].sum()))
            # ties go to the lowest threshold
            best = max(best, (round(f1, 6), threshold), key=lambda b: (b[0], -b[1]))
        thresholds[kind] = round(best[1], 6)
        f1s.append(best[0])
    degraded = reasoner.degraded(reading).sort().values
    gate = float(degraded[min(len(degraded) - 1, int(CLEAN_PASS * len(degraded)))]) + MARGIN
    scores = {"val_macro_f1": sum(f1s) / len(f1s)}
    return {"threshold": thresholds, "clean_gate": round(min(0.99, max(0.5, gate)), 4)}, scores
