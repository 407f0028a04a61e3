"""The `recipe` teacher: from the true recipe and the measured picture to a chain of thought.

The steps follow one another as a careful person would go: what is in the scene; what was measured; for each
degradation what is seen of it and where, what it is, why, and how severe; what was ruled out; what matters most.
Numbers in the text are measured in the degraded picture or stand in the recipe. The wording varies from pair to pair
and depends on the seed and the pair_id alone.
"""

from __future__ import annotations

import re

import numpy as np

from components.annotation import evidence, places, wording
from components.diagnosis import GROUNDS, TYPES, DegradationType, Diagnosis, Finding


def diagnose(
    degraded: np.ndarray, recipe: list[dict], severities: list[float], scene: str, objects: list[str], name: str
) -> Diagnosis:
    """The true diagnosis of a degraded (H, W, 3) uint8 picture; degradations too weak to see are no findings.

    `severities` (7, order of TYPES, 0 = absent) and `recipe` as the pair shards hold them; `name` picks the wording.
    """
    told = facts(degraded, recipe, severities, scene, objects)
    # the order in which nature applied them: air, lens, sensor, codec
    order = [kind for kind in dict.fromkeys(step["type"] for step in recipe) if kind in told.findings]
    reasoning = think(degraded, told.evidence, told.findings, order, scene, objects, wording.Voice(name))
    return told.model_copy(update={"reasoning": reasoning})


def facts(
    degraded: np.ndarray, recipe: list[dict], severities: list[float], scene: str, objects: list[str]
) -> Diagnosis:
    """What `diagnose` knows, before it is put into words."""
    findings = visible(recipe, severities)
    return Diagnosis(evidence=evidence.measure(degraded), findings=findings, scene=scene, objects=objects)


def visible(recipe: list[dict], severities: list[float]) -> dict[DegradationType, Finding]:
    """The findings of a recipe whose types have these severities (7); what is too weak to see is none."""
    steps = {step["type"]: step for step in recipe}
    return {
        kind: Finding(severity=float(value), factors=steps[kind]["factors"])
        for kind, value in zip(TYPES, severities, strict=True)
        if value >= 1
    }


def think(
    degraded: np.ndarray, measured: dict[str, float], findings: dict[DegradationType, Finding],
    order: list[DegradationType], scene: str, objects: list[str], voice: wording.Voice,
) -> list[str]:  # fmt: skip
    """The chain of thought, one sentence or two a step."""
    values = {name: f"{value:.2f}" for name, value in measured.items()}
    steps = [
        _scene(scene, objects, voice),
        voice.pick(wording.OVERALL).format(**values),
        voice.pick(wording.DETAIL).format(**values),
    ]
    for kind, finding in findings.items():
        steps += [_seen(degraded, kind, voice), _verdict(kind, finding, voice)]
    if not findings:
        steps += [*_ruled_out(measured, voice), voice.pick(wording.CLEAN)]
    elif len(findings) > 1:
        worst = max(findings, key=lambda kind: findings[kind].severity)
        chain = " and ".join(_plain(kind) for kind in order)
        sentence = voice.pick(wording.TOGETHER).format(worst=_plain(worst), chain=chain)
        steps.append(sentence[0].upper() + sentence[1:])
    return steps


def _scene(scene: str, objects: list[str], voice: wording.Voice) -> str:
    listed = voice.pick(wording.WITH_OBJECTS).format(names=", ".join(objects)) if objects else ""
    return voice.pick(wording.SCENE if scene else wording.NO_SCENE).format(scene=scene, objects=listed)


def _seen(degraded: np.ndarray, kind: DegradationType, voice: wording.Voice) -> str:
    place = places.find(degraded, kind)
    versus = voice.pick(wording.THROUGHOUT if place.name == places.EVERYWHERE else wording.VERSUS)
    said = voice.pick(wording.EVIDENCE[kind])
    said = re.sub(r"<[\w ]+> ", "", said) if place.name == places.EVERYWHERE else re.sub(r"<([\w ]+)>", r"\1", said)
    return said.format(
        place=voice.pick(wording.PLACES[place.name]),
        versus=versus.format(inside=f"{place.inside:.3f}", outside=f"{place.outside:.3f}"),
    )


def _verdict(kind: DegradationType, finding: Finding, voice: wording.Voice) -> str:
    words = next(words for end, words in wording.DEGREES if finding.severity <= end)
    name = _plain(kind)
    return voice.pick(wording.VERDICTS).format(
        name=name,
        Name=name[0].upper() + name[1:],
        cause=voice.pick(wording.CAUSES[kind]).format(**finding.factors),
        degree=voice.pick(words),
        severity=finding.severity,
    )


def _ruled_out(measured: dict[str, float], voice: wording.Voice) -> list[str]:
    """What a clean photo's highest measurement does not mean."""
    kind = max(wording.RULED_OUT, key=lambda kind: measured[GROUNDS[kind][0]])
    value = measured[GROUNDS[kind][0]]
    return [voice.pick(wording.RULED_OUT[kind]).format(value=f"{value:.2f}")] if value > wording.SUGGESTIVE else []


def _plain(kind: str) -> str:
    return wording.NAMES.get(kind, kind)
