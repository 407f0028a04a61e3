"""The tables behind `dvc plots` and the figures of the report, from the table of pairs that `evaluate` makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from components.diagnosis import TYPES
from components.evaluation.metrics import BINS

NOTHING = "nothing"


def write(table: pd.DataFrame, restoration: dict[str, dict[str, float]], folder: Path) -> None:
    """severity.csv, confusion.csv, reliability.csv and restoration.csv in a new `folder`."""
    folder.mkdir(parents=True)
    severity_points(table).to_csv(folder / "severity.csv", index=False)
    confusion(table).to_csv(folder / "confusion.csv", index=False)
    reliability(table).round(4).to_csv(folder / "reliability.csv", index=False)
    psnr = [{"case": case, **scores} for case, scores in restoration.items()]
    pd.DataFrame(psnr).round(4).to_csv(folder / "restoration.csv", index=False)


def stacked(table: pd.DataFrame, column: str) -> np.ndarray:
    """(N, 7) of a column of lists."""
    return np.array(table[column].tolist()).reshape(-1, len(TYPES))


def severity_points(table: pd.DataFrame) -> pd.DataFrame:
    """True and read severity of every present type of every pair: the calibration of severities."""
    truth, read = stacked(table, "truth"), stacked(table, "severity")
    pairs, kinds = np.nonzero(truth >= 1)
    return pd.DataFrame(
        {
            "type": [TYPES[kind] for kind in kinds],
            "true": truth[pairs, kinds].round(2),
            "read": read[pairs, kinds].round(2),
        }
    )


def confusion(table: pd.DataFrame) -> pd.DataFrame:
    """What was found where: a row a finding, `nothing` for a pair without any; `case` is what was there."""
    rows = []
    for case, found in zip(table["case"], stacked(table, "found"), strict=True):
        names: list[str] = [kind for kind, here in zip(TYPES, found, strict=True) if here] or [NOTHING]
        rows += [{"case": case, "found": name} for name in names]
    return pd.DataFrame(rows, columns=["case", "found"])


def reliability(table: pd.DataFrame) -> pd.DataFrame:
    """Of the presence probabilities of all pairs and types, in BINS equal bins: how many, their mean, and how often
    the type was there. Only bins that hold any; the expected calibration error is of the same bins."""
    presence, here = stacked(table, "presence").ravel(), (stacked(table, "truth") >= 1).ravel()
    bins = np.minimum((presence * BINS).astype(int), BINS - 1)
    rows = [
        {"n": int(inside.sum()), "said": presence[inside].mean(), "happened": here[inside].mean()}
        for inside in (bins == number for number in range(BINS))
        if inside.any()
    ]
    return pd.DataFrame(rows, columns=["n", "said", "happened"])
