"""The cheat, shown: refinement without its guards, and the same run with them.

    python -m benchmarks.refinement_cheat --guards off --out work/cheat      # a run; then the same with: on
    python -m benchmarks.refinement_cheat --picture docs/reward-hacking      # PNG and JPEG of both runs

In a folder in which the models were trained. `off`: no tether, no fidelity, no supervised loss, no quality term:
nothing but what the reasoner says. The pictures and figures are of validation pairs that no step saw.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from components import params
from components.reasoner.reader import Reasoner
from components.refinement import artefacts, likeness
from components.refinement.config import RefineParams
from components.refinement.learner import Learner
from components.refinement.pictures import Pictures, gather, of_pairs, restore
from components.refinement.quality import CleanPhotos
from components.restorer import network
from components.restorer.data import load_split

OFF = {"kl_weight": 0.0, "weight_fidelity": 0.0, "weight_supervised": 0.0, "weight_quality": 0.0}
CASES = ("noise", "blur", "jpeg", "haze", "rain", "mixture2", "snow", "low_light")
CURVES = (("left", "severity left"), ("psnr", "PSNR, dB"), ("ssim", "SSIM"), ("peaks", "spectral peaks"))
SIDES = ("degraded", "supervised", "guards off", "guards on", "clean")
# what is shown of which case: left and top of a square, in px
CROPS, CROP, LARGER = (("jpeg", 90, 60), ("noise", 20, 20), ("mixture2", 40, 40)), 72, 3
COLOURS = {"off": (200, 40, 40), "on": (30, 110, 50)}


def watched() -> Pictures:
    """One validation pair of each case."""
    pairs = load_split("val")
    return of_pairs(pairs, [pairs.cases.index(case) for case in CASES])


def look(restorer: network.Restorer, reasoner: Reasoner, pictures: Pictures) -> tuple[dict, torch.Tensor]:
    restored, clean = (restore(restorer, reasoner, pictures) * 255).round() / 255, pictures.clean_sides()
    edges = artefacts.edge_energy(restored) / artefacts.edge_energy(clean)
    figures = {
        "left": reasoner.score_severities(restored).sum(1),
        "psnr": likeness.psnr_db(restored, clean),
        "ssim": likeness.ssim(restored, clean),
        "gmsd": likeness.gmsd(restored, clean),
        "vif": likeness.vif(restored, clean),
        "edges": edges,
        "peaks": artefacts.artefacts(restored, clean)["peaks"],
    }
    told = {name: float(values.mean()) for name, values in figures.items()}
    return {**told, "psnr_by_case": [float(v) for v in figures["psnr"]]}, restored


def run(guards: str, out: Path, steps: int, rate: float) -> None:
    torch.manual_seed(0)
    # the network alone: the policy cannot paint what the network would not
    changed = {"steps": steps, "learning_rate": rate, "policy_rate": 0.0, **(OFF if guards == "off" else {})}
    config = params.load("refine", RefineParams).model_copy(update=changed)
    reasoner, supervised = Reasoner("models/reasoner"), network.load("models/restorer")
    out.mkdir(parents=True, exist_ok=True)
    pairs = load_split("train")
    quality = CleanPhotos(pairs.clean[:: max(1, len(pairs.ids) // 300)])
    hard, ordinary = gather(config, pairs, reasoner, supervised)
    learner, seen = Learner(config, supervised, reasoner, hard, ordinary, quality, None, None), watched()
    log = [{"step": 0, **look(supervised, reasoner, seen)[0]}]
    for step in range(steps):
        told = learner.step(step)
        print(guards, step + 1, f"{time.process_time():.0f} s", json.dumps(told), flush=True)
        if (step + 1) % 4 == 0 or step + 1 == steps:
            figures, restored = look(learner.mean, reasoner, seen)
            log.append({"step": step + 1, **figures, "reward_severity": told["reward_severity"], "kl": told["kl"]})
            torch.save((restored * 255).round().to(torch.uint8), out / f"{guards}.pt")
            (out / f"{guards}.json").write_text(json.dumps(log, indent=1))
            print(json.dumps(log[-1]), flush=True)


def show(out: Path, target: Path) -> None:
    """A sheet of enlarged crops (degraded, supervised, guards off, guards on, clean) and the curves."""
    pictures = watched()
    restored = restore(network.load("models/restorer"), Reasoner("models/reasoner"), pictures)
    supervised = (restored * 255).round().to(torch.uint8)
    off, on = (torch.load(out / f"{name}.pt", weights_only=True) for name in ("off", "on"))
    side, gap, head = CROP * LARGER, 4, 16
    sheet = Image.new("RGB", (len(SIDES) * (side + gap), len(CROPS) * (side + gap) + head), "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(SIDES):
        draw.text((column * (side + gap) + 4, 2), name, fill="black")
    for row, (case, left, top) in enumerate(CROPS):
        i = CASES.index(case)
        restored = [pixels[i].permute(1, 2, 0).numpy() for pixels in (supervised, off, on)]
        for column, pixels in enumerate((pictures.degraded[i], *restored, pictures.clean[i])):
            crop = Image.fromarray(np.ascontiguousarray(pixels[top : top + CROP, left : left + CROP]))
            place = column * (side + gap), head + row * (side + gap)
            sheet.paste(crop.resize((side, side), Image.Resampling.NEAREST), place)
    target.mkdir(parents=True, exist_ok=True)
    sheet.save(target / "pictures.jpg", quality=90)
    curves(out).save(target / "curves.png", optimize=True)


def curves(out: Path) -> Image.Image:
    """Four small plots side by side, both runs in each."""
    logs = {name: json.loads((out / f"{name}.json").read_text()) for name in ("off", "on")}
    sheet = Image.new("RGB", (4 * 260, 220), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (key, title) in enumerate(CURVES):
        values = [row[key] for log in logs.values() for row in log]
        low, high, last = min(values), max(values), max(row["step"] for log in logs.values() for row in log)
        span = max(high - low, 1e-9)
        left, top, wide, tall = place * 260 + 45, 30, 195, 150
        draw.rectangle((left, top, left + wide, top + tall), outline=(170, 170, 170))
        draw.text((left, 10), title, fill="black")
        for value, y in ((high, top), (low, top + tall - 10)):
            draw.text((left - 42, y), f"{value:.4g}", fill="black")
        draw.text((left + wide - 50, top + tall + 5), f"step {last}", fill="black")
        for name, log in logs.items():
            line = [(left + wide * r["step"] / last, top + tall * (1 - (r[key] - low) / span)) for r in log]
            draw.line(line, fill=COLOURS[name], width=2)
        for number, name in enumerate(COLOURS):
            draw.text((left + 70 * number, top + tall + 5), f"guards {name}", fill=COLOURS[name])
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guards", choices=("on", "off"))
    parser.add_argument("--out", type=Path, default=Path("work/cheat"))
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rate", type=float, default=0.001)
    parser.add_argument("--picture", type=Path, help="folder for the sheet and the curves of two finished runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.guards:
        run(args.guards, args.out, args.steps, args.rate)
    if args.picture:
        show(args.out, args.picture)


if __name__ == "__main__":
    main()
