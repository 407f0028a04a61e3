"""Stage `evaluate`: every figure of the pipeline, on test photos that no stage trained on.

    python -m components.evaluation.evaluate

Writes reports/metrics.json (stable keys), per_image.parquet (a row a pair, with all that the report shows), plots and
a gallery; seconds go to work/timings.json, which no hash depends on.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from components import inference, params, storage, tracking
from components.evaluation import answers, metrics, plots, strange
from components.evaluation.config import EvaluateParams
from components.evaluation.gallery import write_gallery
from components.evaluation.measure import by_case, reasoner_figures, restoration_table, with_answers
from components.refinement.delivered import REASONER, REFINED, reasoner_of
from components.storage import parquet

REPORTS, TIMINGS = Path("reports"), Path("work/timings.json")
SUPERVISED = Path("models/restorer")


def compare_restorers(
    supervised: inference.Models, refined: inference.Models, pictures: list[np.ndarray], cleans: list[np.ndarray]
) -> dict[str, float]:
    """Mean PSNR and mean summed severity left, of both, each under its own reasoner's diagnoses.

    What is left is read by the supervised reasoner: a refined one would be its own judge.
    """
    reasoner = supervised.reasoner
    results: dict[str, list[float]] = {
        "psnr_supervised": [],
        "psnr_refined": [],
        "left_supervised": [],
        "left_refined": [],
    }
    rows = list(zip(pictures, cleans, strict=True))
    for degraded, clean in storage.progress(rows, len(rows), "comparing restorers"):
        first = supervised.look(degraded)
        for name, models in (("supervised", supervised), ("refined", refined)):
            seen = first if models.reasoner is supervised.reasoner else models.look(degraded)
            restored = degraded if seen.diagnosis.is_clean else models.paint(degraded, seen)
            results[f"psnr_{name}"].append(metrics.psnr(restored, clean))
            results[f"left_{name}"].append(float(reasoner.score_severities([restored]).sum()))
    return {name: float(np.mean(values)) for name, values in results.items()}


def refinement_scores(frame: pd.DataFrame, config: EvaluateParams) -> dict[str, float | bool]:
    """Section `refinement` of the metrics: before and after reinforcement learning, in and out of distribution."""
    supervised = inference.load_parts(REASONER, SUPERVISED)
    refined = inference.load_parts(reasoner_of(REFINED), REFINED)
    if reasoner_of(REFINED) == REASONER:
        # the same one need not look twice
        refined.reasoner = supervised.reasoner
    hard = frame[frame["case"] != "clean"].iloc[: config.ood_pairs]
    cleans = [storage.decode_image(data) for data in hard["clean"]]
    known = compare_restorers(supervised, refined, [storage.decode_image(data) for data in hard["degraded"]], cleans)
    twice = [strange.second_order(clean, config.seed * 1000 + i) for i, clean in enumerate(cleans)]
    unknown = compare_restorers(supervised, refined, twice, cleans)
    others = [strange.third_party(clean, i, config.seed * 2000 + i)[1] for i, clean in enumerate(cleans)]
    foreign = compare_restorers(supervised, refined, others, cleans)
    accepted = json.loads(Path("metrics/refine.json").read_text(encoding="utf-8"))["accepted"]
    return {
        "severity_left_supervised": known["left_supervised"],
        "severity_left_refined": known["left_refined"],
        "psnr_supervised": known["psnr_supervised"],
        "psnr_refined": known["psnr_refined"],
        "ood_psnr_supervised": unknown["psnr_supervised"],
        "ood_psnr_refined": unknown["psnr_refined"],
        "ood_severity_left_supervised": unknown["left_supervised"],
        "ood_severity_left_refined": unknown["left_refined"],
        "third_party_psnr_supervised": foreign["psnr_supervised"],
        "third_party_psnr_refined": foreign["psnr_refined"],
        "third_party_severity_left_supervised": foreign["left_supervised"],
        "third_party_severity_left_refined": foreign["left_refined"],
        "accepted": bool(accepted),
    }


def main() -> None:
    config = params.load("evaluate", EvaluateParams)
    part = REPORTS.with_name(REPORTS.name + ".part")
    with storage.only_one(TIMINGS.parent / "evaluate"), tracking.stage_run("evaluate", config.model_dump()) as run:
        shutil.rmtree(part, ignore_errors=True)
        frame = parquet.read_split("data/pairs", "test")
        models = inference.load_parts(reasoner_of(REFINED), REFINED)
        table = restoration_table(models, frame)
        said = answers.ask(models.reasoner, map(storage.decode_image, frame["degraded"]))
        report = {"restoration": by_case(table), **reasoner_figures(said, frame)}
        report["refinement"] = refinement_scores(frame, config)
        storage.write_json(part / "metrics.json", report)
        megapixels = sum(storage.decode_image(data).size for data in frame["degraded"]) / 3e6
        timings = {"seconds_per_megapixel": float(table["seconds"].sum()) / megapixels}
        table = with_answers(table.drop(columns="seconds"), frame, said)
        table.to_parquet(part / "per_image.parquet", index=False)
        plots.write(table, report["restoration"], part / "plots")
        write_gallery(models, frame, table, config.gallery_pairs, part / "gallery")
        storage.write_json(TIMINGS, timings)
        take_over(part, REPORTS)
        run.metrics({**flat(report), **timings})
        run.artifact(REPORTS / "metrics.json")


def take_over(part: Path, reports: Path) -> None:
    """Move what was written to its place; what else lies there stays."""
    reports.mkdir(exist_ok=True)
    for path in sorted(part.iterdir()):
        target = reports / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    part.rmdir()


def flat(values: dict, prefix: str = "") -> dict[str, float]:
    """Nested numbers as one level of dotted names."""
    out: dict[str, float] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        out |= flat(value, name + ".") if isinstance(value, dict) else {name: float(value)}
    return out


if __name__ == "__main__":
    tracking.telemetry_off()
    try:
        main()
    except (params.ParamsError, tracking.TrackingError, inference.ModelRefError, OSError) as error:
        sys.exit(f"evaluate: {error}")
