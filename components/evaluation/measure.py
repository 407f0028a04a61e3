"""Measure a pair of models: on the test pairs of the pipeline, or on two folders of photos."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from components import inference, storage
from components.diagnosis import TYPES
from components.evaluation import answers, metrics
from components.evaluation.answers import Answers
from components.reasoner.reader import Reasoner
from components.storage import parquet


def measure(models: str | Path, pairs: str | Path = "data/pairs") -> dict:
    """`restoration`, `reasoner` and `reasoner_types` of a folder with reasoner/ and restorer/ on the test pairs."""
    loaded = inference.load(models)
    frame = parquet.read_split(pairs, "test")
    table = restoration_table(loaded, frame)
    return {"restoration": by_case(table), **measure_reasoner(loaded.reasoner, frame)}


def restoration_table(models: inference.Models, frame: pd.DataFrame) -> pd.DataFrame:
    """One row a pair: case, scores before and after `Models.restore`, why it was kept, strength, seconds."""
    rows = []
    for pair in storage.progress(frame.itertuples(index=False), len(frame), "restoring test pairs"):
        degraded, clean = storage.decode_image(pair.degraded), storage.decode_image(pair.clean)
        began = time.perf_counter()
        result = models.restore(degraded)
        rows.append(
            {
                "pair_id": pair.pair_id,
                "case": pair.case,
                **scores(degraded, result.image, clean),
                "kept": result.kept or "",
                "weakened": result.weakened or "",
                "strength": result.strength,
                "before": result.before.to_json(),
                "after": result.after.to_json(),
                "seconds": time.perf_counter() - began,
            }
        )
    return pd.DataFrame(rows)


def scores(degraded: np.ndarray, restored: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """PSNR and SSIM towards the clean photo, before and after."""
    return {
        "psnr_degraded": metrics.psnr(degraded, clean),
        "psnr_restored": metrics.psnr(restored, clean),
        "ssim_degraded": metrics.ssim(degraded, clean),
        "ssim_restored": metrics.ssim(restored, clean),
    }


def by_case(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Means per case; `all` is every degraded pair, clean photos stand for themselves."""
    columns = ["psnr_degraded", "psnr_restored", "ssim_degraded", "ssim_restored"]
    groups = {str(case): rows for case, rows in table.groupby("case")}
    groups["all"] = table[table["case"] != "clean"]
    return {
        case: {"n": len(rows), **{column: float(rows[column].mean()) for column in columns}}
        for case, rows in groups.items()
        if len(rows)
    }


def measure_reasoner(reasoner: Reasoner, frame: pd.DataFrame) -> dict:
    """`reasoner` and `reasoner_types` of the pairs in `frame`."""
    return reasoner_figures(answers.ask(reasoner, map(storage.decode_image, frame["degraded"])), frame)


def reasoner_figures(said: Answers, frame: pd.DataFrame) -> dict:
    """`reasoner` and `reasoner_types` from what was said of the pairs in `frame`."""
    overall, per_type = metrics.reasoner_scores(
        said.presence, said.severity, said.found, answers.severities(frame), frame["case"].tolist()
    )
    return {"reasoner": {"parse_rate": (said.parsed or 0) / len(frame), **overall}, "reasoner_types": per_type}


def with_answers(table: pd.DataFrame, frame: pd.DataFrame, said: Answers) -> pd.DataFrame:
    """The restoration table with what every figure of the reasoner rests on, a list of seven (order of TYPES) each:
    `truth` (severity, 0 where absent), `presence` (probability), `severity` (read, where present) and `found`."""
    lists = {"truth": answers.severities(frame), "presence": said.presence, "severity": said.severity}
    columns = {name: list(values.astype(float)) for name, values in lists.items()}
    return table.assign(photo_id=frame["photo_id"].to_numpy(), **columns, found=list(said.found))


def evaluate_folders(
    models: inference.Models,
    found: list[tuple[str, np.ndarray, np.ndarray]],
    unrefined: inference.Models | None = None,
) -> Iterator[dict]:
    """One row a photo for (name, degraded, clean) triples of equal size: scores and severities before and after.

    With the models from before refinement also what they make of the photo: `psnr_unrefined`, `ssim_unrefined`,
    `severities_unrefined`.
    """
    for name, degraded, clean in found:
        if degraded.shape != clean.shape:
            yield {"name": name, "error": f"sizes differ: {degraded.shape[1]}x{degraded.shape[0]} degraded, "
                   f"{clean.shape[1]}x{clean.shape[0]} clean"}  # fmt: skip
            continue
        result = models.restore(degraded)
        yield {
            "name": name,
            **scores(degraded, result.image, clean),
            "severities_before": dict(zip(TYPES, result.before.severities(), strict=True)),
            "severities_after": dict(zip(TYPES, result.after.severities(), strict=True)),
            "kept": result.kept,
            "weakened": result.weakened,
            "strength": result.strength,
            **({} if unrefined is None else _unrefined(unrefined, degraded, clean)),
        }


def _unrefined(models: inference.Models, degraded: np.ndarray, clean: np.ndarray) -> dict:
    result = models.restore(degraded)
    return {
        "psnr_unrefined": metrics.psnr(result.image, clean),
        "ssim_unrefined": metrics.ssim(result.image, clean),
        "severities_unrefined": dict(zip(TYPES, result.after.severities(), strict=True)),
    }
