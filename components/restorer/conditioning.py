"""From a `Diagnosis` to the numbers that condition the restorer.

Layout of the vector (CONDITION values): 7 severities / 100, 7 confidences, the physical factors as levels / 9
(0 where absent), 4 blur kinds one-hot, and 1 that says a diagnosis is given at all.
"""

from __future__ import annotations

import torch

from components.diagnosis import BLUR_KINDS, TYPES, Diagnosis
from components.reasoner.answer import FACTOR_SCALES, LEVELS, factor_level

FACTOR_NAMES = tuple(FACTOR_SCALES)
CONDITION = 2 * len(TYPES) + len(FACTOR_NAMES) + len(BLUR_KINDS) + 1
SEVERITIES = slice(0, len(TYPES))
KNOWN = CONDITION - 1


def condition_vector(diagnosis: Diagnosis) -> torch.Tensor:
    """(CONDITION,) float vector of a diagnosis."""
    values = [severity / 100 for severity in diagnosis.severities()]
    values += [diagnosis.findings[t].confidence if t in diagnosis.findings else 0.0 for t in TYPES]
    for kind, name in FACTOR_NAMES:
        finding = diagnosis.findings.get(kind)  # type: ignore[call-overload]
        value = finding.factors.get(name) if finding else None
        values.append(0.0 if value is None else factor_level(kind, name, float(value)) / LEVELS)
    blur = diagnosis.findings.get("blur")
    values += [float(blur is not None and blur.factors.get("kind") == kind) for kind in BLUR_KINDS]
    return torch.tensor([*values, 1.0])
