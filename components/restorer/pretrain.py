"""Train the restorer on a bare machine: a processor or a GPU, in as many sittings as it takes.

    python -m components.restorer.pretrain --minutes 60 [--out work/pretrain/restorer]

Needs torch, transformers, numpy, pandas, pyarrow, Pillow, pydantic and PyYAML alone, data/clean, data/pairs,
data/annotations, data/priors and models/reasoner. The training is that of the stage `train_restorer`, without MLflow.
Each sitting goes on where the last one stopped; `OUT/final` holds the averaged restorer of the last step done.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch

from components import params, tracking
from components.restorer import network
from components.restorer.config import RestorerParams
from components.restorer.data import load_split
from components.restorer.train import train, validate


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the restorer in plain PyTorch, resumable")
    parser.add_argument("--minutes", type=float, default=1e9, help="length of this sitting")
    parser.add_argument("--out", type=Path, default=Path("work/pretrain/restorer"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    config = params.load("restorer", RestorerParams)
    args.out.mkdir(parents=True, exist_ok=True)
    averaged, done = train(config, args.out, tracking.NoRun(), args.minutes, args.device)
    shutil.rmtree(args.out / "final", ignore_errors=True)
    network.save(averaged, args.out / "final")
    print(json.dumps({"step": done, "steps": config.steps, **validate(averaged, load_split("val"))}))


if __name__ == "__main__":
    try:
        main()
    except (network.RestorerError, params.ParamsError, FileNotFoundError) as error:
        sys.exit(f"pretrain: {error}")
