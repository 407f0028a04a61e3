"""The whole thing once, for someone who has just cloned it; what `make demo` runs.

    python -m rnr.demo

Runs the pipeline (stages that are up to date cost nothing), restores two photos of the test split with the promoted
model, writes demo/*.png strips of degraded, restored and clean, and says in figures what was achieved.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components import storage, tracking
from components.diagnosis import TYPES
from components.storage import parquet
from rnr import console

OUT, PAIRS, METRICS = Path("demo"), Path("data/pairs"), Path("reports/metrics.json")
# one photo with two things wrong, one with a single thing that everybody sees
WANTED = (("mixture2",), ("haze", "low_light"))
CASES = (*TYPES, "mixture2", "mixture3", "clean", "all")
GAP_PX = 6


def choose(pairs: pd.DataFrame) -> list[Any]:
    """One row for each entry of WANTED that the pairs have: the first by case, then by pair_id."""
    chosen = []
    for cases in WANTED:
        for case in cases:
            rows = pairs[pairs["case"] == case].sort_values("pair_id")
            if len(rows):
                chosen.append(rows.iloc[0])
                break
    return chosen


def strip(pictures: list[np.ndarray]) -> np.ndarray:
    """(H, W, 3) pictures of one size side by side, with a white gap."""
    gap = np.full((pictures[0].shape[0], GAP_PX, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(parts[:-1], axis=1)


def show_pictures(models: Any, pairs: pd.DataFrame, out: Path = OUT) -> list[Path]:
    """Write demo/<pair>-<case>.png and say what the reasoner saw in each."""
    paths = []
    for pair in choose(pairs):
        degraded, clean = storage.decode_image(pair["degraded"]), storage.decode_image(pair["clean"])
        result = models.restore(degraded)
        path = out / f"{pair['pair_id']}-{pair['case']}.png"
        with storage.whole_file(path) as part:
            part.write_bytes(storage.encode_png(strip([degraded, result.image, clean])))
        paths.append(path)
        print(f"\n{path}   (left: degraded, middle: restored, right: clean)")
        for step in result.before.reasoning:
            print(f"  {step}")
        print(f"  Severity found: {severities(result.before)}; left after restoring: {severities(result.after)}.")
        if result.kept:
            print(f"  Left as it was: {result.kept}.")
        if result.weakened:
            print(f"  Restored at strength {result.strength:g} only: {result.weakened}.")
    return paths


def severities(diagnosis: Any) -> str:
    """haze 62, noise 30."""
    found = [f"{kind} {finding.severity:.0f}" for kind, finding in diagnosis.findings.items()]
    return ", ".join(found) or "none"


def restoration_rows(metrics: dict[str, Any]) -> list[tuple[object, ...]]:
    """One row for each case of the report, in the order of CASES."""
    rows: list[tuple[object, ...]] = []
    for case in CASES:
        if case in metrics["restoration"]:
            m = metrics["restoration"][case]
            psnr = f"{m['psnr_degraded']:.2f} -> {m['psnr_restored']:.2f}"
            ssim = f"{m['ssim_degraded']:.3f} -> {m['ssim_restored']:.3f}"
            rows.append((case, m["n"], psnr, f"{m['psnr_restored'] - m['psnr_degraded']:+.2f}", ssim))
    return rows


def put_report(metrics: dict[str, Any]) -> None:
    """The figures of reports/metrics.json as two tables."""
    print("\nRestoration, on test photos that no stage trained on (PSNR in dB, more is better; SSIM at most 1):")
    console.put_table(("case", "photos", "PSNR", "gain", "SSIM"), restoration_rows(metrics))
    print("\nDiagnosis (F1 of detecting the type, at most 1; mean error of the severity, of 100):")
    types = metrics["reasoner_types"]
    rows = [(kind, types[kind]["f1"], types[kind]["severity_mae"]) for kind in TYPES if kind in types]
    console.put_table(("type", "F1", "severity error"), rows)
    print(f"macro F1 over all types: {metrics['reasoner']['macro_f1']:.3f}")


def demo() -> int:
    """Run, show, report. Raises Failed in one line."""
    began = time.monotonic()
    tracking.telemetry_off()
    from flows import preflight, retrain

    preflight.check_params()
    print("Running the pipeline; a first time this trains both models and takes minutes.", flush=True)
    try:
        summary = retrain.run()
    except retrain.RetrainError as error:
        raise console.Failed(f"demo: {error}; `make demo` again goes on from there") from None
    from rnr.pipeline_commands import put_summary

    print()
    put_summary(summary)
    import rnr
    from components.inference import ModelRefError

    try:
        # the model of this very run, also when the gate refused it: the figures below are its own
        models = rnr.load(f"models:/{tracking.MODEL_NAME}/{summary.version}")
        show_pictures(models, parquet.read_split(PAIRS, "test", ["pair_id", "case", "degraded", "clean"]))
        put_report(json.loads(METRICS.read_text(encoding="utf-8")))
    except (ModelRefError, OSError) as error:
        raise console.Failed(f"demo: {console.one_line(error)}") from None
    print(f"\nDone in {time.monotonic() - began:.0f} s. Pictures: {OUT}/. All figures: {METRICS}.")
    print("Runs, metrics by step, checkpoints:  .venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db")
    print("Your own photos:                     .venv/bin/rnr restore YOURPHOTO -o out")
    return console.OK


if __name__ == "__main__":
    sys.exit(console.guarded(demo))
