"""The language of the system: what is wrong with a photo, in words and numbers.

The reasoner says a `Diagnosis`, the restorer hears it, the reward reads it, the person
sees and edits it. One type, versioned; its JSON schema is `docs/diagnosis.schema.json`:

    python -m components.diagnosis > docs/diagnosis.schema.json
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION: Literal[1] = 1
DegradationType = Literal["haze", "rain", "snow", "low_light", "blur", "noise", "jpeg"]
TYPES: tuple[DegradationType, ...] = ("haze", "rain", "snow", "low_light", "blur", "noise", "jpeg")
BLUR_KINDS = ("gaussian", "defocus", "motion", "shake")
SCENES = ("street", "landscape", "forest", "coast", "interior", "people", "animals", "food", "night")

# Physical factors of each type: unit and the closed range that a diagnosis may state.
# haze: fraction of scene light that still arrives, and the grey of the air (both 0..1);
# rain and snow: share of the pixels that streaks or flakes cover; angles from the vertical;
# low_light: exposure in stops (EV) and the response gamma; noise: Poisson gain and Gaussian
# variance in linear light (Brooks et al. 2019); jpeg: libjpeg quality.
FACTORS: dict[str, dict[str, tuple[str, float, float]]] = {
    "haze": {"transmission": ("fraction", 0.0, 1.0), "airlight": ("intensity", 0.0, 1.0)},
    "rain": {"density": ("fraction", 0.0, 1.0), "length_px": ("px", 0.0, 200.0), "angle_deg": ("degree", -90.0, 90.0)},
    "snow": {"density": ("fraction", 0.0, 1.0), "flake_px": ("px", 0.0, 100.0)},
    "low_light": {"exposure_ev": ("EV", -10.0, 0.0), "gamma": ("exponent", 0.2, 5.0)},
    "blur": {"extent_px": ("px", 0.0, 200.0), "angle_deg": ("degree", -90.0, 90.0)},
    "noise": {"shot": ("linear gain", 0.0, 1.0), "read": ("linear variance", 0.0, 1.0)},
    "jpeg": {"quality": ("libjpeg", 1.0, 100.0)},
}


# What is measured in a picture, as a share in [0, 1] (definitions: components/annotation/evidence.py).
EVIDENCE = ("brightness", "contrast", "dark_channel", "grain", "texture", "streakiness", "blockiness")
# The evidence that speaks for each type: (measurement, what it shows).
GROUNDS: dict[str, tuple[str, str]] = {
    "haze": ("dark_channel", "even the darkest spots are lifted by scattered light"),
    "rain": ("streakiness", "thin bright strokes share one direction"),
    "snow": ("brightness", "bright flakes of several sizes cover the scene"),
    "low_light": ("brightness", "too little light reached the sensor"),
    "blur": ("texture", "edges are wider than a sharp lens draws them"),
    "noise": ("grain", "flat areas are grainy"),
    "jpeg": ("blockiness", "steps stand on the 8-pixel grid of the codec"),
}


class Finding(BaseModel):
    """One degradation that is present: its damage (1 just visible .. 100 worst) and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    severity: Annotated[float, Field(ge=1, le=100)]
    confidence: Annotated[float, Field(ge=0, le=1)] = 1.0
    factors: dict[str, float | str] = {}


class Diagnosis(BaseModel):
    """What the reasoner says of one photo. A photo without findings is clean.

    `evidence` holds the values in [0, 1] that were measured in the picture and on which the
    steps of `reasoning` rest (see components/annotation/evidence.py for their definitions).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: Literal[1] = SCHEMA_VERSION
    reasoning: list[str] = []
    evidence: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    findings: dict[DegradationType, Finding] = {}
    scene: str = ""
    objects: list[str] = []

    @model_validator(mode="after")
    def _factors_are_known(self) -> Diagnosis:
        for kind, finding in self.findings.items():
            for name, value in finding.factors.items():
                if kind == "blur" and name == "kind":
                    if value not in BLUR_KINDS:
                        raise ValueError(f"blur.kind: {value!r} is none of {', '.join(BLUR_KINDS)}")
                    continue
                if name not in FACTORS[kind]:
                    raise ValueError(f"{kind}.{name}: unknown factor; known: {', '.join(FACTORS[kind])}")
                unit, low, high = FACTORS[kind][name]
                if not isinstance(value, (int, float)) or not low <= value <= high:
                    raise ValueError(f"{kind}.{name}: {value!r} is not a number in {low}..{high} ({unit})")
        return self

    @property
    def is_clean(self) -> bool:
        return not self.findings

    def severities(self) -> list[float]:
        """Severity per type in the order of TYPES; 0 where the type is absent."""
        return [self.findings[t].severity if t in self.findings else 0.0 for t in TYPES]

    def edited(self, edits: dict[str, float]) -> Diagnosis:
        """The same diagnosis with the severities a person asked for; 0 removes a finding.

        Raises ValueError for an unknown type or a severity outside 0..100.
        """
        findings = dict(self.findings)
        for kind, severity in edits.items():
            if kind not in TYPES:
                raise ValueError(f"{kind}: unknown degradation; known: {', '.join(TYPES)}")
            if not 0 <= severity <= 100:
                raise ValueError(f"{kind}={severity:g}: a severity lies in 0..100")
            if severity < 1:
                findings.pop(kind, None)
                continue
            old = findings.get(kind)
            findings[kind] = Finding(severity=severity, confidence=1.0, factors=old.factors if old else {})
        ordered = {t: findings[t] for t in TYPES if t in findings}
        return self.model_copy(update={"findings": ordered})

    def to_json(self) -> str:
        """Compact JSON, floats rounded to 4 digits, keys in schema order: the same bytes always."""
        return json.dumps(_rounded(self.model_dump(mode="json")), ensure_ascii=False)


def narrate(evidence: dict[str, float], severities: dict[str, float], scene: str, objects: list[str]) -> list[str]:
    """The chain of thought as steps: what is seen, what was measured, what follows, what matters most."""
    seen = f"The scene looks like {scene}" if scene else "The scene is not certain"
    steps = [seen + (f", with {', '.join(objects)}." if objects else ".")]
    if evidence:
        steps.append("Measured: " + ", ".join(f"{k.replace('_', ' ')} {v:.2f}" for k, v in evidence.items()) + ".")
    for kind, severity in severities.items():
        measurement, shows = GROUNDS[kind]
        value = f" ({measurement.replace('_', ' ')} {evidence[measurement]:.2f})" if measurement in evidence else ""
        steps.append(f"{kind.replace('_', ' ').capitalize()}: {shows}{value}; severity {severity:.0f} of 100.")
    if not severities:
        steps.append("No degradation is visible: leave the photo as it is.")
    elif len(severities) > 1:
        worst = max(severities, key=lambda kind: severities[kind])
        steps.append(f"The strongest is {worst.replace('_', ' ')}; together they hide detail from each other.")
    return steps


def _rounded(value):
    if isinstance(value, float):
        # four significant digits: noise variances are of the order of 1e-6
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return value


if __name__ == "__main__":
    print(json.dumps(Diagnosis.model_json_schema(), indent=2))
