"""What a stage costs per 1,000 pairs, and how that grows at 1, 4 and 16 times the data.

    OMP_NUM_THREADS=1 python -m benchmarks.scale [--write] [--note "on a loaded machine"]

The real commands of the stages run in a folder of their own on 8, 32 and 128 photos (regions of the built-in ones, 5
pairs of each): `diagnose` and `evaluate` with the pretrained pair, the trainings for a few steps from it. Seconds are
those of the processor, of all processes of a stage together: they say what the work costs, also beside other work;
the wall clock stands beside them. `--write` puts the table between the markers of docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENT, BEGIN, END = REPOSITORY / "docs/scale.md", "<!-- scale: begin -->", "<!-- scale: end -->"
FACTORS, PHOTOS = (1, 4, 16), 8
PAIRS_PER_PHOTO = 5
STEPS = {"train_reasoner": 2, "train_restorer": 4}
LONGER = 2  # times as many steps at the smallest size: the difference is the cost of a step
STAGES = {
    "ingest": "components.photos.ingest",
    "synthesize": "components.synthesis.synthesize",
    "annotate": "components.annotation.annotate",
    "train_reasoner": "components.reasoner.train",
    "diagnose": "components.reasoner.diagnose_pairs",
    "train_restorer": "components.restorer.train",
    "evaluate": "components.evaluation.evaluate",
}
# what a stage's work is proportional to
COUNTED = {"ingest": "photos", "evaluate": "test"}


@dataclass(frozen=True)
class Cost:
    """Seconds of the processor (all processes) and of the wall clock."""

    processor: float
    wall: float


def parameters(steps: dict[str, int]) -> dict:
    """The repository's params.yaml with smaller pictures, no check of quality, and few steps."""
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    open_doors = {"max_noise": 255, "max_blur": 1, "max_haze": 1, "max_blockiness": 100, "min_highlight": 0}
    values["ingest"] |= {"sources": ["photos"], "min_side_px": 96, "max_clipped": 1, **open_doors}
    per_photo = {f"{split}_pairs_per_photo": PAIRS_PER_PHOTO for split in ("train", "val", "test")}
    values["synthesize"] |= {"pair_size": 128, **per_photo}
    values["reasoner"] |= {"base": "pretrained/reasoner", "save_every": 1000, "steps": steps["train_reasoner"]}
    values["restorer"] |= {"base": "pretrained/restorer", "save_every": 1000, "steps": steps["train_restorer"]}
    values["evaluate"] |= {"ood_pairs": 2, "gallery_pairs": 1}
    return values


def lay_out(folder: Path, photos: int) -> None:
    """A folder for the stages: parameters, the pretrained pair, and `photos` different regions of built-in photos."""
    (folder / "photos").mkdir(parents=True)
    (folder / "pretrained").symlink_to(REPOSITORY / "pretrained")
    built_in = sorted((REPOSITORY / "data/photos").glob("*.jpg"))
    for number in range(photos):
        round_, which = divmod(number, len(built_in))
        with Image.open(built_in[which]) as image:
            width, height = image.width // 2, image.height // 2
            left, top = (round_ % 2) * width, (round_ // 2) * height
            region = image.convert("RGB").crop((left, top, left + width, top + height))
            region.save(folder / "photos" / f"{number:04}.png")
    write_params(folder, STEPS)


def write_params(folder: Path, steps: dict[str, int]) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters(steps), sort_keys=False), encoding="utf-8")


def run(folder: Path, stage: str) -> Cost:
    """One stage as DVC runs it. Exits with its last line when it fails."""
    quiet = {"MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, **quiet, "PATH": paths, "PYTHONPATH": str(REPOSITORY)}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    argv = [sys.executable, "-m", STAGES[stage]]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{stage}: exit code {done.returncode}: {(done.stderr.splitlines() or ['no message'])[-1]}")
    spent = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    print(f"  {stage}: {spent:.1f} s of processor, {wall:.1f} s", file=sys.stderr, flush=True)
    return Cost(spent, wall)


def use_pretrained(folder: Path, name: str, *targets: str) -> None:
    """What was just trained for two steps makes room for a model whose figures mean something."""
    for target in targets:
        path = folder / "models" / target
        path.parent.mkdir(exist_ok=True)
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)
        path.symlink_to(REPOSITORY / "pretrained" / name)


def measure(factor: int, scratch: Path) -> tuple[dict[str, Cost], dict[str, float]]:
    """Cost of every stage at `factor` times the data, and the sizes: photos, pairs, test, megabytes of pairs."""
    folder = scratch / f"x{factor}"
    lay_out(folder, PHOTOS * factor)
    costs = {}
    print(f"{factor} times the data", file=sys.stderr, flush=True)
    for stage in STAGES:
        # their cost hangs on steps: the two ends show what reading and validating add
        if stage in STEPS and factor not in (FACTORS[0], FACTORS[-1]):
            use_pretrained(folder, stage.removeprefix("train_"), stage.removeprefix("train_"))
        else:
            if stage == "train_reasoner" and factor == FACTORS[0]:
                # not counted: DeepSpeed may have to compile, which takes longer than all else here
                run(folder, stage)
                shutil.rmtree(folder / "work")
            costs[stage] = run(folder, stage)
        if stage == "train_reasoner":
            use_pretrained(folder, "reasoner", "reasoner")
        if stage == "train_restorer":
            use_pretrained(folder, "restorer", "restorer", "restorer-refined")
            # the evaluation reads what refinement says of itself
            refined = {"accepted": 0.0}
            (folder / "metrics/refine.json").write_text(json.dumps(refined), encoding="utf-8")
    made = json.loads((folder / "metrics/synthesize.json").read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in (folder / "data/pairs").rglob("*") if path.is_file())
    pairs = sum(made[f"pairs_{split}"] for split in ("train", "val", "test"))
    sizes = {"photos": float(PHOTOS * factor), "pairs": pairs, "test": made["pairs_test"], "megabytes": size / 1e6}
    return costs, sizes


def step_costs(scratch: Path, costs: dict[str, Cost]) -> dict[str, float]:
    """Processor seconds of one step of each training: a longer run on the same small data less the short one."""
    folder = scratch / "x1"
    found = {}
    write_params(folder, {stage: LONGER * steps for stage, steps in STEPS.items()})
    for stage, steps in STEPS.items():
        shutil.rmtree(folder / "work", ignore_errors=True)
        name = stage.removeprefix("train_")
        (folder / "models" / name).unlink()
        found[stage] = (run(folder, stage).processor - costs[stage].processor) / ((LONGER - 1) * steps)
        use_pretrained(folder, name, name)
    return found


def table(measured: dict[int, tuple[dict[str, Cost], dict[str, float]]], steps: dict[str, float], note: str) -> str:
    """Markdown: a line per stage."""
    small, large = FACTORS[0], FACTORS[-1]
    sizes = {factor: measured[factor][1] for factor in FACTORS}
    heads = " | ".join(f"{sizes[f]['pairs']:.0f} pairs" for f in FACTORS)
    lines = [f"| stage | {heads} | fixed | per 1,000 | 16x over 4x |", "|---|---|---|---|---|---|---|"]
    for stage in STAGES:
        costs = {factor: measured[factor][0].get(stage) for factor in FACTORS}
        cost = {factor: known.processor for factor, known in costs.items() if known}
        counted = {factor: sizes[factor][COUNTED.get(stage, "pairs")] for factor in FACTORS}
        slope = max(0.0, (cost[large] - cost[small]) / (counted[large] - counted[small]))
        fixed = max(0.0, cost[small] - slope * counted[small])
        unit = {"photos": "photos", "test": "test pairs"}.get(COUNTED.get(stage, ""), "pairs")
        cells = " | ".join(f"{known.processor:.1f} ({known.wall:.0f})" if known else "" for known in costs.values())
        growth = f"{cost[large] / cost[FACTORS[1]]:.1f}" if FACTORS[1] in cost else ""
        lines.append(f"| {stage} | {cells} | {fixed:.1f} | {1000 * slope:.1f} ({unit}) | {growth} |")
    per_pair = 1000 * sizes[large]["megabytes"] / sizes[large]["pairs"]
    lines += [
        "",
        f"Seconds of processor, in brackets of the wall clock; {PHOTOS}, {4 * PHOTOS} and {16 * PHOTOS} photos, "
        f"{PAIRS_PER_PHOTO} pairs of 128 px of each. The trainings ran for {STEPS['train_reasoner']} and "
        f"{STEPS['train_restorer']} steps, so theirs is what reading and validating cost; a step of the reasoner takes "
        f"{steps['train_reasoner']:.1f} s, of the restorer {steps['train_restorer']:.1f} s, whatever the data. "
        f"1,000 pairs take {per_pair:.0f} MB. "
        f"{os.cpu_count()} cores, {os.environ.get('OMP_NUM_THREADS', 'all')} threads a process, "
        f"{platform.machine()}, Python {platform.python_version()}{f'; {note}' if note else ''}.",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the stages at 1, 4 and 16 times the data.")
    parser.add_argument("--write", action="store_true", help="put the table into docs/scale.md")
    parser.add_argument("--note", default="", metavar="WORDS", help="said below the table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        measured = {factor: measure(factor, scratch) for factor in FACTORS}
        steps = step_costs(scratch, measured[FACTORS[0]][0])
    found = table(measured, steps, arguments.note)
    print(found)
    if arguments.write:
        head, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
        DOCUMENT.write_text(f"{head}{BEGIN}\n{found}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
