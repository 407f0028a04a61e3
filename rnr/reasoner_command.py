"""`rnr evaluate-reasoner`: every figure by which the reasoner is judged, beside its opponents and its targets.

rnr evaluate-reasoner                                # the champion, or the pretrained reasoner, on data/pairs
rnr evaluate-reasoner --model models/reasoner --json
rnr evaluate-reasoner --no-baseline                  # the reasoner alone: no training pairs are needed
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import rnr
from components import storage, tracking
from components.diagnosis import TYPES
from components.storage import parquet
from rnr import console

if TYPE_CHECKING:
    from components.evaluation.answers import Answers
    from components.reasoner.reader import Reasoner

REASONER = "reasoner"
TITLES = {REASONER: "reasoner", "handmade": "hand-made features", "gauges": "all gauges"}
# per type: figure, its short name, digits after the point
PER_TYPE = (("f1", "F1", 3), ("auc", "AUC", 3), ("severity_mae", "MAE", 1), ("severity_spearman", "rank", 2))


def command(args: argparse.Namespace) -> int:
    """`rnr evaluate-reasoner`."""
    pairs = Path(args.pairs)
    check_pairs(pairs, baseline=args.baseline)
    reasoner = load_reasoner(args)
    report = measure(reasoner, pairs, args.baseline)
    if args.json:
        console.put_json({"model": args.model, "pairs": str(pairs), **report})
    else:
        put_report(report)
    return console.OK


def check_pairs(pairs: Path, baseline: bool) -> None:
    """The splits that will be asked for are there. Raises WrongUse."""
    for split in ("train", "val", "test") if baseline else ("test",):
        try:
            parquet.paths(pairs, split)
        except FileNotFoundError:
            alone = "" if split == "test" else ", or leave the baselines out with --no-baseline"
            raise console.WrongUse(
                f"{pairs}: no {split} pairs here; make them with `dvc repro synthesize`{alone}"
            ) from None


def load_reasoner(args: argparse.Namespace) -> Reasoner:
    """The reasoner of --model, in its folder reasoner/ or itself, on --device. Raises WrongUse."""
    tracking.telemetry_off()
    import torch

    from components.inference import ModelRefError
    from components.reasoner.model import ANSWER_FILE, ReasonerError
    from components.reasoner.reader import Reasoner

    if args.device == "cuda" and not torch.cuda.is_available():
        raise console.WrongUse("device cuda: no CUDA device on this machine; use --device cpu")
    try:
        folder = rnr.locate(args.model)
        own = folder if (folder / ANSWER_FILE).is_file() else folder / "reasoner"
        if not own.is_dir():
            raise console.WrongUse(f"{folder}: no reasoner here ({ANSWER_FILE} or reasoner/ is missing)")
        return Reasoner(own, args.device)
    except (ModelRefError, ReasonerError) as error:
        raise console.WrongUse(str(error)) from None


def measure(reasoner: Reasoner, pairs: Path, baseline: bool) -> dict:
    """`figures`, `intervals` (95%, over photos) and `types` of the reasoner and of each baseline, on the test pairs."""
    from components.evaluation import answers

    frame = parquet.read_split(pairs, "test", answers.TRUTH)

    def ask(side: str) -> Answers:
        images = answers.stored(pairs, "test", side)
        return answers.ask(reasoner, storage.progress(images, len(frame), f"reading {side} test pictures"))

    said = {REASONER: (ask("degraded"), ask("clean"))}
    if baseline:
        said |= ask_baselines(pairs)
    report: dict = {
        "pairs_measured": len(frame),
        "photos_measured": int(frame["photo_id"].nunique()),
        "targets": {name: target for name, (_, target, _) in answers.TARGETS.items()},
        "figures": {},
        "intervals": {},
        "types": {},
    }
    for who, (degraded, clean) in said.items():
        report["figures"][who], report["types"][who] = answers.figures(degraded, clean, frame)
        report["intervals"][who] = answers.intervals(degraded, clean, frame)
    return report


def ask_baselines(pairs: Path) -> dict[str, tuple[Answers, Answers]]:
    """What each baseline says of the degraded and of the clean sides of the test pairs."""
    from components.evaluation import boosting, handmade

    train, val, test = (
        boosting.read_tables(pairs, split, handmade.SETS, storage.progress) for split in ("train", "val", "test")
    )
    said = {}
    for name in storage.progress(handmade.SETS, len(handmade.SETS), "training baselines"):
        opponent = boosting.Baseline(train[name], val[name])
        said[name] = (opponent.ask(test[name].degraded), opponent.ask(test[name].clean))
    return said


def put_report(report: dict) -> None:
    """One row a figure, then one row a type; a column for each side."""
    from components.evaluation.answers import TARGETS

    sides = list(report["figures"])
    head = ["figure", REASONER, "95% interval", *(TITLES[side] for side in sides[1:]), "target", "met"]
    rows = []
    for name, (title, target, at_least) in TARGETS.items():
        show = _shown(1 if name == "severity_mae" else 3)
        own = report["figures"][REASONER][name]
        between = report["intervals"][REASONER].get(name)
        rows.append(
            [
                title,
                show(own),
                f"{show(between[0])} .. {show(between[1])}" if between else "-",
                *(show(report["figures"][side][name]) for side in sides[1:]),
                f"{'>=' if at_least else '<='} {show(target)}",
                "yes" if (own >= target if at_least else own <= target) else "no",
            ]
        )
    print(f"{report['pairs_measured']} test pairs of {report['photos_measured']} photos\n")
    console.put_table(head, rows)
    print()
    head = ["type", "n", *(f"{short} {side}" for _, short, _ in PER_TYPE for side in sides)]
    rows = []
    for kind in TYPES:
        of = {side: report["types"][side][kind] for side in sides}
        cells = [_shown(digits)(of[side][name]) for name, _, digits in PER_TYPE for side in sides]
        rows.append([kind, of[REASONER]["n"], *cells])
    console.put_table(head, rows)
    print("\nrank: Spearman's correlation of said and true severity; intervals: photos drawn with replacement")


def _shown(digits: int) -> Callable[[float | None], str]:
    return lambda value: "-" if value is None else f"{value:.{digits}f}"
