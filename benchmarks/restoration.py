"""The same degraded test photos through this system and through what users would pick instead.

    .venv/bin/python -m benchmarks.restoration --model pretrained
    .venv/bin/python -m benchmarks.restoration --cases haze,"noise 25" --peers BM3D,NLM,"dark channel"
    .venv/bin/python -m benchmarks.restoration --model pretrained --publish      (README, docs/peers*.png)

Crops of 256 px out of test photos of data/clean, which no training of a model trained in this folder saw. Peers get the
setting that was best on validation photos, for each case anew, and the true sigma of plain noise and the true kernel of
a blur; our system gets the photo. Three of its modes stand side by side: as the user gets it (its own diagnosis, second
look, do no harm), under the true diagnosis without a hidden state, and with no diagnosis at all: conditioning must pay.

Prints PSNR and SSIM (means, 95% by bootstrap over photos), what ours gains over each method on the photos that both
have, seconds per megapixel (medians, at 256 px, so that the reasoner's fixed part counts in full) and peak memory
beyond what the process held before. Peers' scores are kept in work/benchmarks, their seconds too: a run that was cut
short goes on; with another folder in --work everything is measured anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

import rnr
from benchmarks import cases, contest, peers, report
from components import inference
from components.annotation.recipe import visible
from components.diagnosis import Diagnosis
from components.restorer import tiles
from components.restorer.conditioning import CONDITION


def modes(models: inference.Models) -> dict[str, contest.Restore]:
    """Our system as a user gets it, under the true diagnosis (None where nobody knows it), and without any."""
    return {
        contest.OURS: lambda example: models.restore(example.degraded).image,
        contest.TRUE: lambda example: _told(models, example),
        contest.BLIND: lambda example: _blind(models, example.degraded),
    }


def _told(models: inference.Models, example: cases.Example) -> np.ndarray | None:
    if example.recipe is None or example.severities is None:
        return None
    return models.apply(example.degraded, Diagnosis(findings=visible(example.recipe, example.severities)), None)


def _blind(models: inference.Models, image: np.ndarray) -> np.ndarray:
    assert models.restorer is not None
    return tiles.restore(models.restorer, image, torch.zeros(CONDITION, device=models.device), None)


def chosen_cases(names: str | None, third_party: bool) -> list[str]:
    """The cases to run. Raises ValueError for an unknown one."""
    known = [*cases.CASES, *(cases.PREFIX + name for name in cases.THIRD_PARTY)]
    if names is None:
        return known if third_party else list(cases.CASES)
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            raise ValueError(f"--cases: {name!r} is none of {', '.join(known)}")
    return wanted


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", help="as `rnr --model` (default: the champion, else pretrained)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--clean", default="data/clean", help="folder of clean shards (default: %(default)s)")
    parser.add_argument("--photos", type=int, default=16, help="test photos (default: %(default)s)")
    parser.add_argument(
        "--val-photos", type=int, default=4, help="photos settings are chosen on (default: %(default)s)"
    )
    parser.add_argument("--slow-photos", type=int, default=4, help="test photos of BM3D (default: %(default)s)")
    parser.add_argument("--cases", help="names, divided by commas (default: all)")
    parser.add_argument("--peers", help='names, divided by commas, "" for none (default: all that are installed)')
    parser.add_argument("--third-party", action="store_true", help="also the corruptions of imagecorruptions")
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of tables")
    parser.add_argument("--publish", action="store_true", help="write the README's table, docs/peers.json and pictures")
    parser.add_argument("--work", type=Path, default=Path("work/benchmarks"), help="folder of the peers' scores")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if min(args.photos, args.val_photos, args.slow_photos) < 1:
        raise ValueError("--photos, --val-photos and --slow-photos: at least 1")
    names = chosen_cases(args.cases, args.third_party)
    wanted = None if args.peers is None else [name.strip() for name in args.peers.split(",") if name.strip()]
    rivals, left_out = peers.chosen(wanted)
    test, val = (
        cases.crops(args.clean, split, n) for split, n in (("test", args.photos), ("val", args.val_photos))
    )  # fmt: skip
    system = modes(rnr.load(args.model, args.device))
    journal = contest.Journal(args.work / "peers.jsonl")
    for line in left_out:
        print(line, file=sys.stderr)
    outcomes = []
    for name in names:
        made = cases.examples(name, val), cases.examples(name, test)
        outcomes.append(contest.hold(*made, rivals, system, args.slow_photos, journal))
        print(f"{name}: done", file=sys.stderr, flush=True)
        if not args.json:
            print(report.plain(report.summary(outcomes[-1])), flush=True)
    told = report.build(outcomes, left_out, val_photos=len(val), threads=torch.get_num_threads())
    if args.json:
        print(json.dumps(told))
    if args.publish:
        report.publish(told, outcomes, system[contest.OURS])


if __name__ == "__main__":
    try:
        main()
    except (inference.ModelRefError, cases.MissingPackage, ValueError, FileNotFoundError) as error:
        sys.exit(f"restoration: {error}")
