"""Evidence as `evaluate` leaves it, made of few pairs and known figures by the stage's own functions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from components import inference, storage
from components.diagnosis import TYPES, Diagnosis, Finding
from components.evaluation import plots
from components.evaluation.answers import Answers
from components.evaluation.gallery import write_gallery
from components.evaluation.measure import by_case, reasoner_figures, with_answers
from components.promotion.gate import CASES
from components.promotion.gate import Verdict as Verdict
from tests.tiny import REPOSITORY

PHOTOS, SIDE = 5, 48
# what no page may take for markup
HOSTILE = '<script>alert("1")</script>'


class Greyer:
    """Stands in for the models: restoring halves the contrast."""

    def restore(self, image: np.ndarray) -> Any:
        grey = (image.astype(int) // 2 + 64).astype(np.uint8)
        return inference.Restored(grey, Diagnosis(), Diagnosis(), None, {})


def make_pairs() -> pd.DataFrame:
    """A pair of every case of every photo."""
    generator = np.random.default_rng(0)
    rows = []
    for photo in range(PHOTOS):
        for case in (*CASES, "clean"):
            there = [case] if case in TYPES else {"mixture2": ["haze", "noise"], "mixture3": ["rain", "blur", "jpeg"]}
            kinds = there if isinstance(there, list) else there.get(case, [])
            truth = [round(float(generator.uniform(10, 95)), 3) if kind in kinds else 0.0 for kind in TYPES]
            image = storage.encode_png(generator.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))
            row = {"pair_id": f"p{photo}-{case}", "photo_id": f"photo{photo}", "case": case, "severities": truth}
            rows.append({**row, "degraded": image, "clean": image})
    return pd.DataFrame(rows)


def measured(pairs: pd.DataFrame) -> tuple[pd.DataFrame, Answers]:
    """A restoration table with gains between -2 and 8 dB, and answers that are often right."""
    generator = np.random.default_rng(1)
    truth = np.array(pairs["severities"].tolist())
    presence = np.clip(0.8 * (truth >= 1) + generator.uniform(0, 0.3, truth.shape), 0, 1)
    severity = np.clip(truth + generator.normal(0, 10, truth.shape), 1, 100)
    said = Answers(presence, severity, presence > 0.25, len(pairs))
    haze = Finding(severity=40, confidence=0.9)
    told = Diagnosis(reasoning=[HOSTILE], findings={"haze": haze}).to_json()
    rows = []
    for pair_id, case in zip(pairs["pair_id"], pairs["case"], strict=True):
        before, gain = float(generator.uniform(10, 30)), float(generator.uniform(-2, 8))
        psnr = (60.0, 60.0) if case == "clean" else (before, before + gain)
        held = f"haze rose from 0 to 40, {HOSTILE}" if gain < -1 else ""
        rows.append(
            {
                "pair_id": pair_id,
                "case": case,
                "psnr_degraded": psnr[0],
                "psnr_restored": psnr[1],
                "ssim_degraded": 0.5,
                "ssim_restored": 0.7,
                "kept": held,
                "weakened": held,
                "strength": 0.0 if held else 1.0,
                "before": told,
                "after": Diagnosis().to_json(),
            }
        )
    return pd.DataFrame(rows), said


def lay_out(folder: Path) -> dict:
    """reports/, models/, params.yaml and dvc.lock in `folder`; returns the metrics."""
    pairs = make_pairs()
    table, said = measured(pairs)
    metrics = {"restoration": by_case(table), **reasoner_figures(said, pairs)}
    sides = {"severity_left": (30.0, 25.0), "psnr": (22.0, 22.5), "ood_psnr": (21.0, 20.5)}
    metrics["refinement"] = {"accepted": True}
    for name, (supervised, refined) in sides.items():
        metrics["refinement"] |= {f"{name}_supervised": supervised, f"{name}_refined": refined}
    reports = folder / "reports"
    storage.write_json(reports / "metrics.json", metrics)
    table = with_answers(table, pairs, said)
    table.to_parquet(reports / "per_image.parquet", index=False)
    plots.write(table, metrics["restoration"], reports / "plots")
    write_gallery(cast(inference.Models, Greyer()), pairs, table, 2, reports / "gallery")
    (folder / "models/reasoner").mkdir(parents=True)
    save_file({"a": torch.zeros(30, 50), "b": torch.zeros(7)}, str(folder / "models/reasoner/model.safetensors"))
    shutil.copy(REPOSITORY / "params.yaml", folder)
    lock = "stages: {synthesize: {outs: [{path: data/pairs, md5: 0123456789abcdef.dir}]}}\n"
    (folder / "dvc.lock").write_text(lock, encoding="utf-8")
    return metrics


def verdict(changes: dict[str, float], **others: Any) -> Verdict:
    """Version 3 against champion 2, with these changes in dB and the same for every other case."""
    figures = {f"psnr_change_db.{case}": changes.get(case, 0.1) for case in CASES}
    figures |= {"macro_f1_change": -0.01, "seconds_per_megapixel": 1.25}
    return Verdict(
        **{
            "accepted": True,
            "reasons": (),
            "figures": figures,
            "version": "3",
            "champion": "2",
            "action": "promoted",
            **others,
        }
    )
