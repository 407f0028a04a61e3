"""Stage `diagnose`: what the reasoner really says of every pair, and its hidden state.

    python -m components.reasoner.diagnose_pairs

Rows of data/priors: pair_id, split, diagnosis (JSON), expected (7 severities, absent counted as 0), embedding.
The restorer trains on these, mistakes included, since they are what it will hear at work.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from components import storage, tracking
from components.reasoner.model import ReasonerError
from components.reasoner.reader import Reasoner
from components.storage import parquet

PAIRS, PRIORS, REASONER = Path("data/pairs"), Path("data/priors"), Path("models/reasoner")
WORK = Path("work/diagnose")
PHOTOS_PER_PASS = 16


def read_rows(reasoner: Reasoner, frame: pd.DataFrame) -> list[dict]:
    """Rows for some pairs with the columns pair_id, split and degraded."""
    reading = reasoner.read([storage.decode_image(data) for data in frame["degraded"]])
    presence, severity = reasoner.severities(reading)
    return [
        {
            "pair_id": pair_id,
            "split": split,
            "diagnosis": diagnosis.to_json(),
            "expected": expected.tolist(),
            "embedding": embedding.tolist(),
        }
        for pair_id, split, diagnosis, expected, embedding in zip(
            frame["pair_id"],
            frame["split"],
            reasoner.diagnoses(reading),
            presence * severity,
            reading.embedding,
            strict=True,
        )
    ]


def main() -> None:
    with storage.only_one(WORK), tracking.stage_run("diagnose", {}) as run, storage.whole_folder(PRIORS) as part:
        reasoner = Reasoner(REASONER)
        summary = {}
        for split in ("train", "val", "test"):
            clean, total = 0, 0
            for path in parquet.paths(PAIRS, split):
                shard, _, number = path.stem.rpartition("-")
                frame = parquet.read(path, ["pair_id", "split", "degraded"])
                starts = list(range(0, len(frame), PHOTOS_PER_PASS))
                rows: list[dict] = []
                for start in storage.progress(starts, len(starts), f"diagnoses, {path.stem}"):
                    rows += read_rows(reasoner, frame.iloc[start : start + PHOTOS_PER_PASS])
                parquet.write(part, shard, int(number), rows)
                clean += sum('"findings": {}' in row["diagnosis"] for row in rows)
                total += len(rows)
            summary[f"called_clean_{split}"] = clean / total
        storage.write_json("metrics/diagnose.json", summary)
        run.metrics(summary)


if __name__ == "__main__":
    tracking.telemetry_off()
    try:
        main()
    except (ReasonerError, tracking.TrackingError, OSError) as error:
        sys.exit(f"diagnose: {error}")
