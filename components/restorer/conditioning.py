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
CONFIDENCES = slice(len(TYPES), 2 * len(TYPES))
FACTORS = slice(2 * len(TYPES), 2 * len(TYPES) + len(FACTOR_NAMES))
BLUR_KIND = slice(FACTORS.stop, FACTORS.stop + len(BLUR_KINDS))
FACTOR_OWNERS = torch.tensor([TYPES.index(kind) for kind, _ in FACTOR_NAMES])  # type: ignore[arg-type]
# all that is said of haze and low light
_WIDE = [TYPES.index("haze"), TYPES.index("low_light")]
GUESSED = [
    *_WIDE,
    *(CONFIDENCES.start + i for i in _WIDE),
    *(FACTORS.start + i for i, owner in enumerate(FACTOR_OWNERS.tolist()) if owner in _WIDE),
]
ANGLES = torch.tensor([i for i, (_, name) in enumerate(FACTOR_NAMES) if name == "angle_deg"])
# how often a type is misheard, and what a made-up finding looks like: (least, range) of severity and confidence
MISHEARD = 0.15
MADE_UP_SEVERITY, MADE_UP_CONFIDENCE = (0.2, 0.6), (0.5, 0.45)
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


def told_again(condition: torch.Tensor) -> torch.Tensor:
    """(..., CONDITION) as a second restoration hears it: without haze and low light.

    How bright and how clear a scene was is a guess that the first one has made; made twice it goes wrong by decibels,
    whatever is left to be seen of it (docs/experiments.md).
    """
    told = condition.clone()
    told[..., GUESSED] = 0
    return told


def mirrored(condition: torch.Tensor) -> torch.Tensor:
    """(CONDITION,) for the picture flipped left to right: angles change their sign, where they are stated."""
    flipped = condition.clone()
    angles = flipped[FACTORS][ANGLES]
    flipped[FACTORS.start + ANGLES] = torch.where(flipped[FACTOR_OWNERS[ANGLES]] > 0, 1 - angles, angles)
    return flipped


def misheard(condition: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A copy of (CONDITION,) in which some findings are left out and some are made up.

    On its training photos the reasoner is nearly always right, on others it is not; a restorer that never heard
    a wrong diagnosis would brighten every photo that is dark by nature.
    """
    wrong = torch.rand(len(TYPES), generator=generator) < MISHEARD
    invented = wrong & (condition[SEVERITIES] == 0)
    draw = torch.rand((2, len(TYPES)), generator=generator)
    heard = condition.clone()
    for part, (least, span), values in (
        (SEVERITIES, MADE_UP_SEVERITY, draw[0]),
        (CONFIDENCES, MADE_UP_CONFIDENCE, draw[1]),
    ):
        heard[part] = torch.where(invented, least + span * values, heard[part] * ~wrong)
    factors = torch.rand(len(FACTOR_NAMES), generator=generator)
    heard[FACTORS] = torch.where(invented[FACTOR_OWNERS], factors, heard[FACTORS] * ~wrong[FACTOR_OWNERS])
    blur = TYPES.index("blur")
    if wrong[blur]:
        heard[BLUR_KIND] = 0
        if invented[blur]:
            heard[BLUR_KIND.start + int(torch.randint(len(BLUR_KINDS), (), generator=generator))] = 1
    return heard
