"""Stage `annotate`: a teacher writes a validated `Diagnosis` with its chain of thought for every pair.

    python -m components.annotation.annotate

One row a pair, in the order of the pair shards: pair_id, split, diagnosis (JSON), teacher ("recipe" or "openai", who
told scene, objects and reasoning), set_aside ("" or why the answer of the asked teacher was not taken; the row then
is the recipe teacher's). Numbers are the recipe's truth whoever tells. docs/teachers.md has both teachers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from components import params, storage, tracking
from components.annotation import recipe
from components.annotation.config import AnnotateParams
from components.storage import parquet

if TYPE_CHECKING:
    from components.annotation.remote import Outcome, Pair

PAIRS, ANNOTATIONS = Path("data/pairs"), Path("data/annotations")
WORK = Path("work/annotate")
SPLITS = ("train", "val", "test")
COLUMNS = ["pair_id", "degraded", "recipe", "severities", "scene", "objects"]


class AnnotateError(RuntimeError):
    """The stage cannot go on; the message is one line for the user."""


def annotate_split(split: str, out: Path, config: AnnotateParams, outcomes: dict[str, Outcome]) -> pd.DataFrame:
    """Write the annotation shards of one split beside the pair shards; returns split, teacher and set_aside."""
    told = []
    for path in parquet.paths(PAIRS, split):
        shard, _, number = path.stem.rpartition("-")
        pairs = parquet.read(path, COLUMNS)
        rows = [
            {"pair_id": pair.pair_id, "split": split, **annotate_pair(pair, config, outcomes.get(pair.pair_id))}
            for pair in storage.progress(pairs.itertuples(index=False), len(pairs), f"annotations, {path.stem}")
        ]
        parquet.write(out, shard, int(number), rows)
        told.append(pd.DataFrame(rows)[["split", "teacher", "set_aside"]])
    return pd.concat(told)


def annotate_pair(pair, config: AnnotateParams, outcome: Outcome | None) -> dict[str, str]:
    """diagnosis, teacher and set_aside of one row of the pair shards; without an outcome nobody was asked."""
    diagnosis = recipe.diagnose(
        storage.decode_image(pair.degraded),
        json.loads(pair.recipe),
        list(pair.severities),
        pair.scene,
        list(pair.objects),
        f"{config.seed}/{pair.pair_id}",
    )
    if outcome is None or outcome.answer is None:
        return {
            "diagnosis": diagnosis.to_json(),
            "teacher": "recipe",
            "set_aside": outcome.set_aside if outcome else "",
        }
    said = outcome.answer
    told = diagnosis.model_copy(update={"scene": said.scene, "objects": said.objects, "reasoning": said.reasoning})
    return {"diagnosis": told.to_json(), "teacher": "openai", "set_aside": ""}


def all_pairs() -> Iterator[Pair]:
    """Every pair that is to be asked about, shard by shard."""
    from components.annotation.remote import Pair

    for split in SPLITS:
        for path in parquet.paths(PAIRS, split):
            for row in parquet.read(path, COLUMNS[:4]).itertuples(index=False):
                yield Pair(row.pair_id, row.degraded, row.recipe, list(row.severities))


def ask(config: AnnotateParams, run: tracking.NoRun) -> dict[str, Outcome]:
    """What the endpoint says of every pair. Raises AnnotateError when it cannot be used."""
    # imported here: the recipe teacher needs no client
    from components.annotation import endpoint, journal, remote, table

    total = sum(parquet.count_rows(path) for split in SPLITS for path in parquet.paths(PAIRS, split))
    counts = table.Table(total)
    try:
        return remote.ask_all(config, all_pairs(), counts)
    except (endpoint.EndpointError, journal.JournalError) as error:
        raise AnnotateError(str(error)) from None
    finally:
        run.metrics(counts.metrics())


def summarise(told: pd.DataFrame, config: AnnotateParams) -> dict[str, float]:
    """Rows per split; with an asked teacher also how many it told and how many were set aside."""
    summary = {f"annotations_{split}": float((told["split"] == split).sum()) for split in SPLITS}
    if config.teacher == "openai":
        summary["told_by_openai"] = float((told["teacher"] == "openai").sum())
        summary["set_aside"] = float((told["set_aside"] != "").sum())
    return summary


def main() -> None:
    config = params.load("annotate", AnnotateParams)
    if config.teacher == "openai":
        from components.annotation import endpoint

        # before MLflow and the journal see an address that must not be kept
        endpoint.check(config)
    with storage.only_one(WORK), tracking.stage_run("annotate", config.model_dump()) as run:
        outcomes = ask(config, run) if config.teacher == "openai" else {}
        with storage.whole_folder(ANNOTATIONS) as part:
            told = pd.concat([annotate_split(split, part, config, outcomes) for split in SPLITS])
        summary = summarise(told, config)
        storage.write_json("metrics/annotate.json", summary)
        run.metrics(summary)
    if summary.get("set_aside"):
        print(f"annotate: {summary['set_aside']:.0f} of {len(told)} answers were set aside; the column set_aside "
              f"of {ANNOTATIONS} says why", flush=True)  # fmt: skip


if __name__ == "__main__":
    tracking.telemetry_off()
    try:
        main()
    except (params.ParamsError, tracking.TrackingError, AnnotateError, OSError) as error:
        sys.exit(f"annotate: {error}")
