"""Refinement against the same number of extra supervised steps, from the same restorer on the same pictures.

    python -m benchmarks.refinement --seeds 1 2 3 --out work/refinement       # what is there is not run again
    python -m benchmarks.refinement --arms network both --split val           # the network learns too
    python -m benchmarks.refinement --arms refined joint                      # the reasoner learns too
    python -m benchmarks.refinement --out work/refinement --table             # the table alone

Run it where `dvc repro` ended (models/, data/). Every arm is measured on test pairs of every case, on the same clean
sides degraded twice, and by other toolkits' formulae; neither training nor reward saw any of them. One thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from benchmarks import refinement_measure
from components import params, tracking
from components.reasoner.reader import Reasoner
from components.refinement.config import RefineParams
from components.refinement.learner import Learner
from components.refinement.pictures import gather
from components.refinement.policy import survey
from components.refinement.quality import CleanPhotos
from components.refinement.refine import Heard, alternate
from components.restorer import network
from components.restorer.data import load_split

# the rate at which the network learns in the arms in which it does
RATE = 1e-4
# what differs from the defaults, under which the policy alone learns
ARMS: dict[str, dict] = {
    "refined": {},
    "network": {"learning_rate": RATE, "policy_rate": 0.0},
    "both": {"learning_rate": RATE},
    "supervised": {"learning_rate": RATE, "policy_rate": 0.0},
    "joint": {},
}
COLUMNS = (
    ("known", "left", "severity left"),
    ("known", "psnr", "PSNR, dB"),
    ("known", "ssim", "SSIM"),
    ("twice", "psnr", "degraded twice, dB"),
    ("third", "psnr", "other toolkits, dB"),
)


def run_seed(config: RefineParams, arms: list[str], out: Path, split: str, per_case: int, strange: int) -> None:
    """The arms of a seed, and the restorer they begin from; each writes one JSON file."""
    torch.manual_seed(config.seed)
    wanted = [arm for arm in ("before", *arms) if not (out / f"{arm}-{config.seed}.json").exists()]
    if not wanted:
        return
    reasoner, supervised = Reasoner("models/reasoner"), network.load("models/restorer")
    held_out = refinement_measure.held_out(reasoner, split, per_case, strange)
    gathered, quality = None, None
    for arm in wanted:
        began = time.process_time()
        restorer, heard, seen = supervised, reasoner, held_out
        if arm == "joint":
            restorer, _, last = alternate(config, out / f"joint-{config.seed}", tracking.NoRun(), Heard.first())
            heard = last.reasoner
            seen = refinement_measure.held_out(heard, split, per_case, strange, priors=False)
        elif arm != "before":
            if gathered is None:
                pairs = load_split("train")
                gathered = gather(config, pairs, reasoner, supervised)
                quality = CleanPhotos(pairs.clean[:: max(1, len(pairs.ids) // 300)])
            own = config.model_copy(update=ARMS[arm])
            assert quality is not None
            states = survey(own, supervised, reasoner, gathered[1], quality) if own.policy_rate else None
            learner = Learner(own, supervised, reasoner, *gathered, quality, None, states)
            for step in range(config.steps):
                told = refinement_measure.supervised_step(learner, step) if arm == "supervised" else learner.step(step)
                print(f"seed {config.seed} {arm} {step + 1}/{config.steps}", json.dumps(told), flush=True)
            restorer = learner.mean
        used = time.process_time() - began
        # what is left is read by the supervised reasoner in every arm
        scores = refinement_measure.scores(restorer, heard, seen, judge=reasoner)
        done = {"arm": arm, "seed": config.seed, "steps": config.steps, "cpu_s": used, "scores": scores}
        (out / f"{arm}-{config.seed}.json").write_text(json.dumps(done, indent=1))


def table(out: Path) -> str:
    """Mean and spread over the seeds, and the worst change of any case's PSNR."""
    lines = ["| | seeds | " + " | ".join(head for _, _, head in COLUMNS) + " | worst case, dB |"]
    lines.append("|---" * (len(COLUMNS) + 3) + "|")
    found = {arm: [json.loads(p.read_text()) for p in sorted(out.glob(f"{arm}-*.json"))] for arm in ("before", *ARMS)}
    for arm, rows in found.items():
        cells = []
        for where, key, _ in COLUMNS:
            values = [row["scores"][where][key] for row in rows]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.mean(values):.3f} ± {spread:.3f}" if values else "")
        worst = []
        for row in rows:
            start = next((b for b in found["before"] if b["seed"] == row["seed"]), None)
            if start:
                first = start["scores"]["known"]["by_case"]
                worst.append(min(v - first[c] for c, v in row["scores"]["known"]["by_case"].items()))
        cells.append(f"{statistics.mean(worst):+.2f}" if worst else "")
        lines.append(f"| {arm} | {len(rows)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=["refined", "supervised"])
    parser.add_argument("--out", type=Path, default=Path("work/refinement"))
    parser.add_argument("--steps", type=int, help="instead of refine.steps")
    parser.add_argument("--rounds", type=int, default=1, help="of the arm joint")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--per-case", type=int, default=22, help="pairs of each case that are measured")
    parser.add_argument("--strange", type=int, default=80, help="pictures of each set out of distribution")
    parser.add_argument("--table", action="store_true", help="print what there is")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.table:
        config = params.load("refine", RefineParams)
        for seed in args.seeds:
            changed = {"seed": seed, "steps": args.steps or config.steps, "joint_rounds": args.rounds}
            run_seed(config.model_copy(update=changed), args.arms, args.out, args.split, args.per_case, args.strange)
    print(table(args.out))


if __name__ == "__main__":
    main()
