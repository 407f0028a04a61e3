"""The gate: from measured figures to yes or no, with every reason in words and numbers. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from components import params
from components.diagnosis import TYPES

CASES = (*TYPES, "mixture2", "mixture3")
Action = Literal["promoted", "refused", "unchanged", "would promote", "would refuse"]


class PromotionParams(params.Section):
    """Section `promotion`: the floors, and how much a challenger may lose against the champion.

    min_psnr_gain_db: restored minus degraded PSNR over all test pairs, dB. min_types_improved: of the seven
    degradation types, how many must gain PSNR. max_psnr_loss_db: per type and mixture, against the champion, dB.
    max_f1_loss: of the reasoner's macro F1, against the champion. clean_psnr_floor_db: PSNR that clean photos keep.
    max_seconds_per_megapixel: one photo through the whole model. smoke_timeout_s: for loading and predicting once.
    """

    min_psnr_gain_db: float
    min_types_improved: int = Field(ge=0, le=len(TYPES))
    min_macro_f1: float = Field(ge=0, le=1)
    max_psnr_loss_db: float = Field(ge=0)
    max_f1_loss: float = Field(ge=0, le=1)
    clean_psnr_floor_db: float = Field(ge=0)
    max_seconds_per_megapixel: float = Field(gt=0)
    smoke_timeout_s: int = Field(ge=1)


@dataclass(frozen=True)
class Smoke:
    """The packaged model loaded and asked once in a fresh process: its speed, or `error` in one line."""

    seconds_per_megapixel: float | None
    error: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What the gate says of version `version` against `champion` (None: there was none).

    `reasons` are the refusals, each naming what fell short with its figures; empty when accepted.
    `figures`: the numbers it rests on. `action`: what was done about it. `data`: the digest of the pairs that both
    were measured on, empty where nothing was measured.
    """

    accepted: bool
    reasons: tuple[str, ...]
    figures: dict[str, float] = field(default_factory=dict)
    version: str = ""
    champion: str | None = None
    action: Action = "refused"
    data: str = ""


class Missing(KeyError):
    """A metric that the gate needs is not there."""


def number(metrics: dict, path: str) -> float:
    """The value at a dotted path. Raises Missing."""
    value: object = metrics
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Missing(path)
    return float(value)


def gain(metrics: dict, case: str) -> float:
    """Restored minus degraded PSNR of one case in dB."""
    return number(metrics, f"restoration.{case}.psnr_restored") - number(metrics, f"restoration.{case}.psnr_degraded")


def judge(challenger: dict, champion: dict | None, smoke: Smoke, limits: PromotionParams) -> Verdict:
    """Floors, then no loss against the champion, then speed. Metrics have the keys of reports/metrics.json; those of
    the champion must come from the same data. NaN never passes."""
    reasons = [f"smoke test: {smoke.error}"] if smoke.error else []
    figures: dict[str, float] = {}
    try:
        reasons += _floors(challenger, limits, figures)
        if champion is not None:
            reasons += _losses(challenger, champion, limits, figures)
    except Missing as error:
        reasons.append(f"metric {error.args[0]} is missing or no number; run `dvc repro evaluate`")
    if smoke.seconds_per_megapixel is not None:
        figures["seconds_per_megapixel"] = smoke.seconds_per_megapixel
        if not smoke.seconds_per_megapixel <= limits.max_seconds_per_megapixel:
            reasons.append(
                f"latency: {smoke.seconds_per_megapixel:.2f} s per megapixel, at most "
                f"{limits.max_seconds_per_megapixel:.2f} (promotion.max_seconds_per_megapixel)"
            )
    return Verdict(not reasons, tuple(reasons), {name: round(value, 6) for name, value in figures.items()})


def _floors(metrics: dict, limits: PromotionParams, figures: dict[str, float]) -> list[str]:
    reasons = []
    figures["psnr_gain_db"] = gain(metrics, "all")
    if not figures["psnr_gain_db"] >= limits.min_psnr_gain_db:
        reasons.append(
            f"all: PSNR gain {figures['psnr_gain_db']:+.3f} dB, at least {limits.min_psnr_gain_db:+.3f} dB "
            "(promotion.min_psnr_gain_db)"
        )
    gains = {kind: gain(metrics, kind) for kind in TYPES}
    worse = {kind: value for kind, value in gains.items() if not value > 0}
    figures["types_improved"] = len(gains) - len(worse)
    if figures["types_improved"] < limits.min_types_improved:
        named = ", ".join(f"{kind} {value:+.3f} dB" for kind, value in worse.items())
        reasons.append(
            f"only {len(gains) - len(worse)} of {len(gains)} types gain PSNR, at least {limits.min_types_improved} "
            f"(promotion.min_types_improved); not: {named}"
        )
    figures["clean_psnr_db"] = number(metrics, "restoration.clean.psnr_restored")
    if not figures["clean_psnr_db"] >= limits.clean_psnr_floor_db:
        reasons.append(
            f"clean: photos without damage keep {figures['clean_psnr_db']:.2f} dB, at least "
            f"{limits.clean_psnr_floor_db:.2f} dB (promotion.clean_psnr_floor_db)"
        )
    figures["macro_f1"] = number(metrics, "reasoner.macro_f1")
    if not figures["macro_f1"] >= limits.min_macro_f1:
        reasons.append(
            f"reasoner: macro F1 {figures['macro_f1']:.3f}, at least {limits.min_macro_f1:.3f} (promotion.min_macro_f1)"
        )
    return reasons


def _losses(metrics: dict, champion: dict, limits: PromotionParams, figures: dict[str, float]) -> list[str]:
    reasons = []
    for case in CASES:
        ours = number(metrics, f"restoration.{case}.psnr_restored")
        theirs = number(champion, f"restoration.{case}.psnr_restored")
        figures[f"psnr_change_db.{case}"] = ours - theirs
        if not theirs - ours <= limits.max_psnr_loss_db:
            reasons.append(
                f"{case}: {ours:.3f} dB against the champion's {theirs:.3f} dB, a loss of {theirs - ours:.3f} dB; at "
                f"most {limits.max_psnr_loss_db:.3f} dB (promotion.max_psnr_loss_db)"
            )
    ours, theirs = number(metrics, "reasoner.macro_f1"), number(champion, "reasoner.macro_f1")
    figures["macro_f1_change"] = ours - theirs
    if not theirs - ours <= limits.max_f1_loss:
        reasons.append(
            f"reasoner: macro F1 {ours:.3f} against the champion's {theirs:.3f}, a loss of {theirs - ours:.3f}; at "
            f"most {limits.max_f1_loss:.3f} (promotion.max_f1_loss)"
        )
    return reasons
