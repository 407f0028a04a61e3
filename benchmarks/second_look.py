"""What the second look costs and saves: every rule judged on the same restored pictures.

    .venv/bin/python -m benchmarks.second_look --model pretrained --split val [--crops 440] [--keep work/look.csv]

In a folder in which the model was trained. Each pair of the split, and clean crops of its photos, is restored once at
full strength and blended to a half and a quarter; what the reasoner says of each is kept. Then rules are applied to the
table: when a lone finding counts, and what is taken for harm. Prints gains in dB by case, how many good results a rule
held back and how many bad ones, and how many clean pictures were changed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

import rnr
from benchmarks import clean as clean_crops
from components import inference, storage
from components.degradations.severity import psnr
from components.diagnosis import TYPES
from components.storage import parquet

STRENGTHS = (1.0, 0.5, 0.25)
UNCHANGED_DB = 60.0
CLEAN = "clean"
LONE = (0.0, 0.5, 0.85, 0.9, 0.95)
# (pictures, types) of severities before and after -> which pictures came to harm
Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]


def risen(measure: Callable[[np.ndarray, np.ndarray], np.ndarray], limit: float) -> Rule:
    """The rule that calls harm what rose by more than `limit` in a measure of (before, after)."""
    return lambda before, after: measure(before, after) > limit


def any_type(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(pictures,) the largest rise of a type."""
    return (after - before).max(1)


def worst(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(pictures,) the rise of the worst severity, whichever type it is of."""
    return after.max(1) - before.max(1)


def total(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(pictures,) the rise of the sum of severities."""
    return after.sum(1) - before.sum(1)


RULES: dict[str, Rule] = {
    "never": risen(any_type, np.inf),
    **{f"one type rose by more than {limit}": risen(any_type, limit) for limit in (8, 25)},
    **{f"the worst rose by more than {limit}": risen(worst, limit) for limit in (0, 8, 12, 20)},
    **{f"the sum rose by more than {limit}": risen(total, limit) for limit in (8, 25)},
}
CHOSEN = f"the worst rose by more than {inference.RISE:g}"


def pictures(split: str, crops: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(case, picture, clean side) of all pairs of a split, then of clean crops of its photos."""
    pairs = parquet.read_split("data/pairs", split, ["case", "degraded", "clean"])
    for pair in pairs.itertuples(index=False):
        yield pair.case, storage.decode_image(pair.degraded), storage.decode_image(pair.clean)
    for _, crop in clean_crops.crops("data/clean", crops, split):
        yield CLEAN, crop, crop


def look(models: inference.Models, split: str, crops: int) -> pd.DataFrame:
    """A row a picture: case, number of findings, the surest confidence, PSNR before and at each of STRENGTHS, and
    severities `before TYPE` and `STRENGTH TYPE`."""
    rows = []
    for case, picture, side in pictures(split, crops):
        seen = models.look(picture)
        findings = seen.diagnosis.findings
        row = {"case": case, "findings": len(findings), "before": min(UNCHANGED_DB, psnr(side, picture))}
        row["sure"] = max((one.confidence for one in findings.values()), default=0.0)
        row |= _named("before", seen.diagnosis.severities())
        full = models.paint(picture, seen) if findings else picture
        for strength in STRENGTHS:
            part = full.copy()
            inference.fade(picture, part, strength)
            row[f"{strength}"] = min(UNCHANGED_DB, psnr(side, part))
            after = models.diagnose([part])[0] if findings else seen.diagnosis
            row |= _named(f"{strength}", after.severities())
        rows.append(row)
    return pd.DataFrame(rows)


def _named(prefix: str, severities: list[float]) -> dict[str, float]:
    return {f"{prefix} {kind}": severity for kind, severity in zip(TYPES, severities, strict=True)}


def judged(table: pd.DataFrame, lone: float, rule: Rule) -> pd.DataFrame:
    """The table with the gain in dB under a rule (`gain`), the strength used (`used`), and whether the picture came
    back changed (`changed`); a lone finding less sure than `lone` leaves it as it was."""
    before = table[[f"before {kind}" for kind in TYPES]].to_numpy()
    touched = (table["findings"] > 1) | ((table["findings"] == 1) & (table["sure"] >= lone))
    open_, gain, used = touched.to_numpy().copy(), np.zeros(len(table)), np.zeros(len(table))
    for strength in STRENGTHS:
        after = table[[f"{strength} {kind}" for kind in TYPES]].to_numpy()
        taken = open_ & ~rule(before, after)
        gain[taken] = (table[f"{strength}"] - table["before"])[taken]
        used[taken] = strength
        open_ &= ~taken
    return table.assign(gain=gain, used=used, touched=touched, changed=used > 0)


def line(found: pd.DataFrame) -> dict[str, float]:
    """Mean gains by case and over all degraded pairs, who was held back, and how many clean pictures were changed."""
    good, bad = found[found["case"] == CLEAN], found[found["case"] != CLEAN]
    held = bad[bad["touched"] & (bad["used"] < 1)]
    lost = held["gain"] - (held[f"{STRENGTHS[0]}"] - held["before"])
    return {
        "all": bad["gain"].mean(),
        "held": len(held),
        "rightly": int((lost > 0.05).sum()),
        "wrongly": int((lost < -0.05).sum()),
        **bad.groupby("case")["gain"].mean().to_dict(),
        "clean changed": int(good["changed"].sum()),
        "of": len(good),
    }


def report(table: pd.DataFrame) -> pd.DataFrame:
    """Every rule with the lone findings of the product, then the product's rule with other lone findings."""
    rows = {name: line(judged(table, inference.SURE, rule)) for name, rule in RULES.items()}
    rows |= {f"lone findings from {lone:g}": line(judged(table, lone, RULES[CHOSEN])) for lone in LONE}
    return pd.DataFrame(rows).T


def main() -> None:
    parser = argparse.ArgumentParser(description="Judge the rules of the second look")
    parser.add_argument("--model", help="pretrained, models:/NAME@ALIAS or a folder")
    parser.add_argument("--split", default="val", choices=("val", "test"))
    parser.add_argument("--crops", type=int, default=440, help="clean crops beside the pairs")
    parser.add_argument("--keep", type=Path, help="where the table of all pictures is kept; read again if it is there")
    args = parser.parse_args()
    if args.keep and args.keep.is_file():
        table = pd.read_csv(args.keep)
    else:
        table = look(rnr.load(args.model), args.split, args.crops)
        if args.keep:
            with storage.whole_file(args.keep) as part:
                table.to_csv(part, index=False)
    print(report(table).round(2).to_string())


if __name__ == "__main__":
    try:
        main()
    except (inference.ModelRefError, FileNotFoundError) as error:
        sys.exit(f"second_look: {error}")
