"""The cases that a person should look at: the best, the median and the worst by gain in PSNR."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from components import inference, storage
from components.diagnosis import TYPES

GROUPS = ("best", "median", "worst")
SCORES = ("psnr_degraded", "psnr_restored", "ssim_degraded", "ssim_restored")


def choose(table: pd.DataFrame, count: int) -> dict[str, list[str]]:
    """Group -> pair_ids of up to `count` degraded pairs, each group no two of one case, no pair twice.

    By gain in dB, ties by pair_id: the best and the worst from the ends of the ranking, the median ones outwards from
    its middle.
    """
    degraded = table[table["case"] != "clean"]
    gain = degraded["psnr_restored"] - degraded["psnr_degraded"]
    ranked = degraded.assign(gain=gain).sort_values(["gain", "pair_id"], ascending=[False, True])
    ranking = list(zip(ranked["pair_id"], ranked["case"], strict=True))
    middle = len(ranking) // 2
    outwards = sorted(range(len(ranking)), key=lambda place: abs(place - middle))
    orders = {"best": ranking, "worst": ranking[::-1], "median": [ranking[place] for place in outwards]}
    taken: set[str] = set()
    chosen: dict[str, list[str]] = {}
    # the ends first: of few pairs the extremes say more than the middle
    for group, order in orders.items():
        chosen[group] = _first_of_each_case(order, count, taken)
        taken.update(chosen[group])
    return {group: chosen[group] for group in GROUPS}


def _first_of_each_case(order: Iterable[tuple[str, str]], count: int, taken: set[str]) -> list[str]:
    first: dict[str, str] = {}
    for pair_id, case in order:
        if pair_id not in taken:
            first.setdefault(case, pair_id)
    return list(first.values())[:count]


def write_gallery(models: inference.Models, frame: pd.DataFrame, table: pd.DataFrame, count: int, folder: Path) -> None:
    """For every chosen pair a strip of degraded, restored and clean (PNG) and a JSON file of the same name: group and
    rank, case, true severities, scores, diagnosis before and after, and why anything was held back."""
    folder.mkdir(parents=True)
    pairs, rows = frame.set_index("pair_id"), table.set_index("pair_id")
    for group, chosen in choose(table, count).items():
        for rank, pair_id in enumerate(chosen, start=1):
            pair, row = pairs.loc[pair_id], rows.loc[pair_id]
            degraded, clean = storage.decode_image(pair["degraded"]), storage.decode_image(pair["clean"])
            # again, and to the same pixels: the pictures of all pairs would not fit into memory
            restored = models.restore(degraded).image
            name = f"{group}-{rank}-{pair_id}"
            strip = np.concatenate([degraded, restored, clean], 1)
            (folder / f"{name}.png").write_bytes(storage.encode_png(strip))
            told = {
                "group": group,
                "rank": rank,
                "pair_id": pair_id,
                "photo_id": pair["photo_id"],
                "case": pair["case"],
                "truth": {kind: float(s) for kind, s in zip(TYPES, pair["severities"], strict=True) if s >= 1},
                **{name: float(row[name]) for name in SCORES},
                "kept": row["kept"],
                "weakened": row["weakened"],
                "strength": float(row["strength"]),
                "before": json.loads(row["before"]),
                "after": json.loads(row["after"]),
            }
            storage.write_json(folder / f"{name}.json", told)
