"""The toy repository's contents: one script for four stages, sections of params.yaml, figures for the gate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from components.promotion.gate import CASES
from tests.tiny import tiny_params

# one script for all stages: copies its inputs' text on; fails while a file `break-<stage>` lies there
SCRIPT = """
import json, os, pathlib, sys, time
stage, out, *inputs = sys.argv[1:]
print(f"hello from {stage}", flush=True)
if pathlib.Path(f"break-{stage}").exists():
    print("an earlier line", flush=True)
    sys.exit(f"{stage}: the lamp is broken")
if pathlib.Path(f"hang-{stage}").exists():
    pathlib.Path("hanging").write_text(str(os.getpid()))
    time.sleep(120)
text = "".join(pathlib.Path(i).read_text() for i in inputs) + stage + "\\n"
path = pathlib.Path(out)
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(text)
pathlib.Path("metrics").mkdir(exist_ok=True)
facts = {"lines": text.count("\\n"), "run": {"threads": int(os.environ["OMP_NUM_THREADS"])}}
pathlib.Path(f"metrics/{stage}.json").write_text(json.dumps(facts))
pathlib.Path(f"ran-{stage}").write_text(os.environ.get("MLFLOW_RUN_ID", ""))
"""
STAGES = {
    "mix": ("models/reasoner/model.txt", ["data.txt"]),
    "left": ("models/restorer-refined/model.txt", ["models/reasoner/model.txt"]),
    "right": ("data/pairs/pairs.txt", ["models/reasoner/model.txt"]),
    "join": ("joined.txt", ["models/restorer-refined/model.txt", "data/pairs/pairs.txt"]),
}
FLOW = {"parallelism": 1, "retries": 0, "retry_delay_s": 0, "min_free_disk_gb": 0.0}
PROMOTION = {
    "min_psnr_gain_db": 0.5,
    "min_types_improved": 7,
    "min_macro_f1": 0.5,
    "max_psnr_loss_db": 0.3,
    "max_f1_loss": 0.05,
    "clean_psnr_floor_db": 40.0,
    "max_seconds_per_megapixel": 60.0,
    "smoke_timeout_s": 300,
}


def dvc(*words: str) -> str:
    run = subprocess.run([sys.executable, "-m", "dvc", *words], capture_output=True, text=True, check=True)
    return run.stdout + run.stderr


def write_params(**flow: object) -> None:
    sections = {"flow": FLOW | flow, "promotion": PROMOTION, "ingest": tiny_params()["ingest"]}
    Path("params.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")


def metrics(psnr: float) -> dict:
    scores = {"n": 5, "psnr_degraded": 20.0, "psnr_restored": psnr, "ssim_degraded": 0.5, "ssim_restored": 0.7}
    cases = {case: dict(scores) for case in (*CASES, "all")} | {"clean": scores | {"psnr_restored": 60.0}}
    return {"restoration": cases, "reasoner": {"macro_f1": 0.8}}
