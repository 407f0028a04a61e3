"""Stage `annotate`: the recipe teacher writes a validated `Diagnosis` with its chain of thought for every pair.

    python -m components.annotation.annotate

The teacher knows the true recipe; its reasoning rests on values measured in the degraded picture.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Literal

import pandas as pd

from components import params, storage, tracking
from components.annotation import evidence
from components.diagnosis import TYPES, Diagnosis, Finding, narrate

PAIRS, ANNOTATIONS = Path("data/pairs"), Path("data/annotations")


class AnnotateParams(params.Section):
    """Section `annotate`."""

    teacher: Literal["recipe"]


def diagnose_recipe(degraded, recipe: list[dict], severities, scene: str, objects: list[str]) -> Diagnosis:
    """The true diagnosis of a degraded (H, W, 3) picture; degradations too weak to see are no findings."""
    steps = {step["type"]: step for step in recipe}
    findings = {
        kind: Finding(severity=float(value), factors=steps[kind]["factors"])
        for kind, value in zip(TYPES, severities, strict=True)
        if value >= 1
    }
    measured = evidence.measure(degraded)
    reasoning = narrate(measured, {k: f.severity for k, f in findings.items()}, scene, objects)
    return Diagnosis(reasoning=reasoning, evidence=measured, findings=findings, scene=scene, objects=objects)


def annotate_split(split: str, out: Path) -> int:
    """Write the annotation shards of one split beside the pair shards; returns the number of rows."""
    count = 0
    for path in storage.shard_paths(PAIRS, split):
        shard, _, number = path.stem.rpartition("-")
        pairs = pd.read_parquet(path, columns=["pair_id", "degraded", "recipe", "severities", "scene", "objects"])
        rows = []
        for pair in storage.progress(pairs.itertuples(index=False), len(pairs), f"annotations, {path.stem}"):
            diagnosis = diagnose_recipe(
                storage.decode_image(pair.degraded),
                json.loads(pair.recipe),
                pair.severities,
                pair.scene,
                list(pair.objects),
            )
            rows.append({"pair_id": pair.pair_id, "split": split, "diagnosis": diagnosis.to_json()})
        storage.write_shard(out, shard, int(number), rows)
        count += len(rows)
    return count


def main() -> None:
    config = params.load("annotate", AnnotateParams)
    part = ANNOTATIONS.with_name(ANNOTATIONS.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    with tracking.stage_run("annotate", config.model_dump()) as run:
        summary = {f"annotations_{split}": float(annotate_split(split, part)) for split in ("train", "val", "test")}
        shutil.rmtree(ANNOTATIONS, ignore_errors=True)
        part.rename(ANNOTATIONS)
        storage.write_json("metrics/annotate.json", summary)
        run.metrics(summary)


if __name__ == "__main__":
    tracking.telemetry_off()
    try:
        main()
    except (params.ParamsError, tracking.TrackingError, FileNotFoundError) as error:
        sys.exit(f"annotate: {error}")
