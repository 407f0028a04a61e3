"""What `restore` makes of pictures degraded by the formulae of other toolkits.

    .venv/bin/python -m benchmarks.strangers --model pretrained --split val [--count 270] [--keep work/strangers.csv]

In a folder in which the model was trained. Clean sides of the split's pairs, degraded in turn by the corruptions of
other toolkits (components/evaluation/strange.py) and by two rounds of our own blur, noise and JPEG. Prints for each how
often its type was found, how often that and nothing else, what else was said, and the PSNR before and after.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import rnr
from components import inference, storage
from components.degradations.severity import psnr
from components.diagnosis import TYPES
from components.evaluation.strange import THIRD_PARTY, second_order, third_party
from components.storage import parquet

# what a right diagnosis finds
MEANT = {
    "gaussian_noise": {"noise"},
    "shot_noise": {"noise"},
    "speckle_noise": {"noise"},
    "disk_blur": {"blur"},
    "plasma_fog": {"haze"},
    "darkness": {"low_light"},
    "streaks": {"rain"},
    "libjpeg": {"jpeg"},
    "twice": {"blur", "noise", "jpeg"},
}
SEEDS = {"third": 80_000, "twice": 90_000}


def corrupted(clean: np.ndarray, number: int) -> tuple[str, np.ndarray]:
    """Name and picture of corruption `number` of MEANT, in turn, of a picture (H, W, 3) uint8."""
    turn, place = divmod(number, len(MEANT))
    if place == len(THIRD_PARTY):
        return "twice", second_order(clean, SEEDS["twice"] + turn)
    return third_party(clean, place, SEEDS["third"] + number)


def look(models: inference.Models, split: str, count: int) -> pd.DataFrame:
    """A row a picture: corruption, what was found (joined by a space), PSNR before and after."""
    sides = parquet.read_split("data/pairs", split, ["clean"])["clean"]
    # an odd stride, so that every corruption comes to every photo
    chosen = [(number * max(1, len(sides) // count | 1)) % len(sides) for number in range(count)]
    rows = []
    for number, place in enumerate(chosen):
        clean = storage.decode_image(sides.iloc[place])
        name, picture = corrupted(clean, number)
        result = models.restore(picture)
        found = " ".join(kind for kind in TYPES if kind in result.before.findings)
        rows.append((name, found, psnr(clean, picture), psnr(clean, result.image)))
    return pd.DataFrame(rows, columns=["name", "found", "before", "after"])


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """A line a corruption of what `look` saw, and one of all."""
    said = [set(found.split()) for found in rows["found"]]
    meant = [MEANT[name] for name in rows["name"]]
    rows = rows.assign(
        hit=[m <= s for m, s in zip(meant, said, strict=True)],
        exact=[m == s for m, s in zip(meant, said, strict=True)],
        else_=[" ".join(sorted(s - m)) for m, s in zip(meant, said, strict=True)],
        gain=rows["after"] - rows["before"],
    )
    lines = {}
    for name, own in [*rows.groupby("name", sort=False), ("all", rows)]:
        others = pd.Series(" ".join(own["else_"]).split(), dtype=str).value_counts()
        lines[name] = {
            "n": len(own),
            "found": own["hit"].mean(),
            "exact": own["exact"].mean(),
            "before, dB": own["before"].mean(),
            "gain, dB": own["gain"].mean(),
            "worst tenth, dB": own["gain"].quantile(0.1),
            "also said": ", ".join(f"{kind} {many}" for kind, many in others.items()),
        }
    return pd.DataFrame(lines).T


def main() -> None:
    parser = argparse.ArgumentParser(description="Diagnose and restore other toolkits' corruptions")
    parser.add_argument("--model", help="pretrained, models:/NAME@ALIAS or a folder")
    parser.add_argument("--split", default="val", choices=("val", "test"))
    parser.add_argument("--count", type=int, default=270, help="pictures, shared out among the corruptions")
    parser.add_argument("--keep", type=Path, help="where the row of every picture goes, as CSV")
    args = parser.parse_args()
    rows = look(rnr.load(args.model), args.split, args.count)
    if args.keep:
        with storage.whole_file(args.keep) as part:
            rows.to_csv(part, index=False)
    print(table(rows).to_string(float_format=lambda value: f"{value:.2f}"))


if __name__ == "__main__":
    try:
        main()
    except (inference.ModelRefError, FileNotFoundError) as error:
        sys.exit(f"strangers: {error}")
