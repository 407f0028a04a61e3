"""What a diagnosis is worth: the restorer alone under the reasoner's, under the true one, and under none.

    .venv/bin/python -m benchmarks.told --restorer pretrained/restorer --split val

In a folder whose data/priors hold what the reasoner said of the pairs. Prints the mean gain in dB of PSNR by case, over
all degraded pairs, and by kind of blur where that is all there is. An unchanged picture counts as 60 dB; nobody looks
twice.
"""

from __future__ import annotations

import argparse
import json
import sys

import pandas as pd
import torch

from components.restorer import network
from components.restorer.data import as_batch, load_split
from components.storage import parquet

UNCHANGED_DB = 60.0
TOLD = ("reasoner", "truth", "nothing")


def psnr(picture: torch.Tensor, clean: torch.Tensor) -> float:
    return min(UNCHANGED_DB, float(-10 * (picture - clean).square().mean().clamp(min=1e-9).log10()))


@torch.inference_mode()
def gains(restorer: network.Restorer, split: str) -> pd.DataFrame:
    """A row a pair: case, kind of blur ("" without one), and the gain in dB under each of TOLD."""
    pairs = load_split(split)
    stored = parquet.read_split("data/pairs", split, ["pair_id", "case", "recipe"]).set_index("pair_id")
    rows = []
    for i, pair_id in enumerate(pairs.ids):
        degraded, clean = as_batch([pairs.degraded[i]]), as_batch([pairs.clean[i]])
        silence = torch.zeros_like(pairs.true[i : i + 1])
        under = {
            "reasoner": (pairs.predicted[i : i + 1], pairs.embeddings[i : i + 1]),
            "truth": (pairs.true[i : i + 1], None),
            "nothing": (silence, None),
        }
        before = psnr(degraded, clean)
        row = {told: psnr(restorer(degraded, *given).clamp(0, 1), clean) - before for told, given in under.items()}
        case, recipe = stored.loc[pair_id, ["case", "recipe"]]
        kinds = [step["params"]["kind"] for step in json.loads(recipe) if step["type"] == "blur"]
        rows.append({"case": case, "kind": kinds[0] if kinds else "", **row})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a diagnosis is worth to the restorer")
    parser.add_argument("--restorer", default="pretrained/restorer", help="folder of the restorer")
    parser.add_argument("--split", default="val", choices=("val", "test"))
    args = parser.parse_args()
    table = gains(network.load(args.restorer), args.split)
    means = table.groupby("case")[list(TOLD)].mean()
    means.loc["all degraded"] = table.loc[table["case"] != "clean", list(TOLD)].mean()
    blurred = table[(table["case"] == "blur") & (table["kind"] != "")]
    means = pd.concat([means, blurred.groupby("kind")[list(TOLD)].mean()])
    print(means.round(2).T.to_string())


if __name__ == "__main__":
    try:
        main()
    except (network.RestorerError, FileNotFoundError) as error:
        sys.exit(f"told: {error}")
