"""Stage `refine`: reinforcement learning with the drop of the diagnosed severity as the reward.

    python -m components.refinement.refine

A policy learns when to restore a second time, from what the frozen reasoner and the clean side like better (policy.py,
reward.py); where `refine.learning_rate` is not 0, groups of tries on hard pictures move the network as well (group.py).
Every few steps some validation pairs stand guard: when they lose, training stops and goes back.
In joint mode (`refine.joint_rounds`) the reasoner is refined before, in turn with the restorer (joint.py).
At last the refined restorer must pass measures that no reward saw (guards.py); else the supervised one goes on.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from components import params, storage, tracking
from components.reasoner.model import ReasonerError
from components.reasoner.reader import Reasoner
from components.refinement import guards, joint, likeness
from components.refinement.config import RefineParams
from components.refinement.delivered import INSIDE, REASONER
from components.refinement.delivered import REFINED as OUT
from components.refinement.judge import Judge
from components.refinement.learner import Learner
from components.refinement.pictures import ANEW, NothingFound, Pictures, anew, gather, heard_by, of_pairs, restore
from components.refinement.policy import States, survey
from components.refinement.quality import CleanPhotos
from components.refinement.scorer import Scorer
from components.restorer import network
from components.restorer.conditioning import SEVERITIES
from components.restorer.data import Pairs, load_split
from components.storage import parquet

RESTORER = Path("models/restorer")
# clean training photos whose measurements say what a clean photo is
CLEAN_PHOTOS = 300
SHOWN = 4
# of the validation's clean sides, every so many-th is degraded anew for acceptance
ANEW_EVERY = 4


@dataclass
class Watch:
    """The early stop: guard pairs, what the supervised restorer makes of them, and the last state that held."""

    pictures: Pictures
    psnr: float
    ssim: float
    good: dict
    stopped_at: int | None = None
    held_at: int = 0

    @staticmethod
    def over(pictures: Pictures, supervised: network.Restorer, reasoner: Reasoner, start: dict) -> Watch:
        restored, clean = restore(supervised, reasoner, pictures), pictures.clean_sides()
        psnr, ssim = likeness.psnr_db(restored, clean), likeness.ssim(restored, clean)
        return Watch(pictures, float(psnr.mean()), float(ssim.mean()), start)

    def look(self, learner: Learner, step: int) -> tuple[dict[str, float], torch.Tensor]:
        """Guard figures of the restorer after `step` steps, and its pictures. Notes the state, or that it is lost."""
        restored, clean = restore(learner.mean, learner.reasoner, self.pictures), self.pictures.clean_sides()
        psnr = float(likeness.psnr_db(restored, clean).mean())
        ssim = float(likeness.ssim(restored, clean).mean())
        left = float(learner.reasoner.score_severities(restored).sum(1).mean())
        config = learner.config
        if psnr >= self.psnr - config.max_psnr_loss_db and ssim >= self.ssim - config.max_ssim_loss:
            self.good, self.held_at = learner.state_dict(), step
        else:
            self.stopped_at = step
        return {"guard_psnr": psnr, "guard_ssim": ssim, "guard_severity_left": left}, restored


@dataclass
class Heard:
    """A reasoner, the folder it lies in, and the pairs of training and validation under its words."""

    folder: Path
    reasoner: Reasoner
    pairs: Pairs
    validation: Pairs

    @staticmethod
    def first() -> Heard:
        """The supervised reasoner; what it says of the pairs are the priors."""
        return Heard(REASONER, Reasoner(REASONER), load_split("train"), load_split("val"))

    def of(self, folder: Path) -> Heard:
        """The same pairs under another reasoner's words."""
        if folder == self.folder:
            return self
        reasoner = Reasoner(folder)
        count = len(self.pairs.ids) + len(self.validation.ids)
        print(f"refine: the refined reasoner reads {count} pairs", flush=True)
        return Heard(folder, reasoner, heard_by(reasoner, self.pairs), heard_by(reasoner, self.validation))


def alternate(config: RefineParams, folder: Path, run, first: Heard) -> tuple[network.Restorer, int, Heard]:
    """Reasoner and restorer refined in turn, as `train` returns the restorer, and the reasoner that it then hears."""
    restorer, held_at, heard = network.load(RESTORER), 0, first
    for number in range(config.joint_rounds):
        own = folder / f"round-{number + 1}"
        heard = heard.of(joint.refine_reasoner(config, heard.folder, restorer, own, number, run))
        restorer, held = train(config, own, run, restorer, heard, past=number * config.steps)
        held_at = max(held_at, held)
    return restorer, held_at, heard


def train(
    config: RefineParams, folder: Path, run, supervised: network.Restorer, heard: Heard, past: int = 0
) -> tuple[network.Restorer, int]:
    """The refined restorer, trained from the last checkpoint in `folder` or from `supervised`, and its step: 0 where no
    step held on the guard pairs. For the log, `past` steps were made before."""
    pairs, validation, reasoner = heard.pairs, heard.validation, heard.reasoner
    hard, ordinary = gather(config, pairs, reasoner, supervised)
    print(f"refine: {len(hard)} hard pictures of {len(ordinary)} with a finding", flush=True)
    quality = CleanPhotos(pairs.clean[:: max(1, len(pairs.ids) // CLEAN_PHOTOS)])
    judge = Judge(config) if config.weight_judge else None
    states = None
    if config.policy_rate:
        bare = hard.only([i for i, clean in enumerate(hard.clean) if clean is None])
        states = surveyed(config, folder / "states.pt", supervised, reasoner, ordinary.joined(bare), quality, judge)
        print(f"refine: something is left of {len(states) if states else 0} pictures restored once", flush=True)
    learner = Learner(config, supervised, reasoner, hard, ordinary, quality, judge, states)
    found = of_pairs(validation, list(range(1, len(validation.ids), 2))).found()
    every = max(1, len(found) // config.guard_pairs)
    guard = found.only(list(range(0, len(found), every))[: config.guard_pairs])
    if not len(guard):
        raise NothingFound("the reasoner finds nothing in any of the guard pairs; train it first")
    watch = Watch.over(guard, supervised, reasoner, learner.state_dict())
    print(f"refine: the guard pairs begin at {watch.psnr:.4f} dB, SSIM {watch.ssim:.4f}", flush=True)
    first, path = 0, folder / "last.pt"
    storage.drop_damaged(list(folder.glob(path.name)))
    if path.exists():
        state = torch.load(path, weights_only=True)
        learner.load_state_dict(state["learner"])
        watch.good, watch.stopped_at, first = state["good"], state["stopped_at"], state["step"]
        watch.held_at = state.get("held_at", 0)
        print(f"refine: resuming from step {first}", flush=True)
    for step in range(first, config.steps):
        if watch.stopped_at is not None:
            break
        logged = learner.step(step)
        run.metrics(logged, step=past + step + 1)
        kl = logged.get("kl", logged.get("policy_kl", 0.0))
        print(f"refine step {step + 1}/{config.steps} reward {logged['reward']:.4f} kl {kl:.4f}", flush=True)
        last = step + 1 == config.steps
        if (step + 1) % config.guard_every == 0 or last:
            figures, restored = watch.look(learner, step + 1)
            run.metrics(figures, step=past + step + 1)
            print(f"refine step {step + 1}: {', '.join(f'{k} {v:.4f}' for k, v in figures.items())}", flush=True)
            run.artifact(save_samples(folder / f"samples/step-{step + 1:05d}.png", watch.pictures, restored))
        if (step + 1) % config.save_every == 0 or last or watch.stopped_at is not None:
            state = {"step": step + 1, "learner": learner.state_dict(), "good": watch.good}
            network.save_state({**state, "stopped_at": watch.stopped_at, "held_at": watch.held_at}, path)
            run.checkpoint(path, past + step + 1, {"reward": logged["reward"]})
    if watch.stopped_at is not None:
        print(f"refine: the guard pairs lost at step {watch.stopped_at}; back to step {watch.held_at}", flush=True)
        learner.load_state_dict(watch.good)
    return learner.mean, watch.held_at


def surveyed(
    config: RefineParams,
    path: Path,
    supervised: network.Restorer,
    reasoner: Reasoner,
    pictures: Pictures,
    quality: CleanPhotos,
    judge: Judge | None,
) -> States | None:
    """What the policy learns from, kept in a file: a resumed training asks no judge a second time."""
    storage.drop_damaged([path] if path.exists() else [])
    if path.exists():
        kept = torch.load(path, weights_only=True)
    else:
        states = survey(config, supervised, reasoner, pictures, quality, judge)
        kept = {"states": states and vars(states)}
        network.save_state(kept, path)
    return States(**kept["states"]) if kept["states"] else None


def save_samples(path: Path, pictures: Pictures, restored: torch.Tensor) -> Path:
    """Rows of degraded, restored and clean pictures, a few of them over the whole set."""
    rows = []
    for i in range(0, len(pictures), max(1, len(pictures) // SHOWN)):
        shown = (restored[i] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        clean = pictures.clean[i]
        rows.append(np.concatenate([pictures.degraded[i], shown, shown if clean is None else clean], 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows[:SHOWN])).save(path)
    return path


def accept(
    config: RefineParams, refined: network.Restorer, first: Heard, last: Heard
) -> tuple[dict[str, float], list[str]]:
    """Figures of both restorers on validation pictures, and why the refined one may not go on.

    Each restores under the words of its own reasoner: the supervised one of `first`, the refined one of `last`.
    """
    scorer = Scorer(first.pairs, config.seed)
    said = held_out(config, first)
    heard = said if last is first else held_out(config, last)
    strongest = torch.maximum(*(some.conditions[:, SEVERITIES].amax(1) for some in (said, heard)))
    shown = [i for i, case in enumerate(said.cases) if case != ANEW or strongest[i] > 0]
    if not shown:
        raise NothingFound("the reasoner finds nothing in any of the validation pairs; train it first")
    said, heard = said.only(shown), heard.only(shown)
    before = guards.measure(network.load(RESTORER), first.reasoner, said, scorer)
    after = guards.measure(refined, last.reasoner, heard, scorer)
    reasons = guards.failures(before, after, said.cases, config)
    figures = guards.report(before, after, said.cases)
    return {**figures, "scorer_error": scorer.error(first.validation), "accepted": float(not reasons)}, reasons


def held_out(config: RefineParams, heard: Heard) -> Pictures:
    """Validation pairs that the early stop did not see, and some of all clean sides degraded anew."""
    validation = heard.validation
    pictures = of_pairs(validation, list(range(0, len(validation.ids), 2)))
    if config.anew_share:
        pictures = pictures.joined(anew(heard.reasoner, validation.clean[::ANEW_EVERY], config.seed + 1))
    return pictures


def inputs_of(config: RefineParams) -> list[str]:
    """All that a refinement depends on beside its parameters."""
    shards = parquet.training_paths("data/pairs", "data/annotations", "data/priors")
    fresh = [str(path) for path in parquet.paths("data/clean", "train")] if config.joint_rounds else []
    return [*shards, *fresh, str(REASONER), str(RESTORER), *([config.photos] if config.photos else [])]


def main() -> None:
    config = params.load("refine", RefineParams)
    folder = Path("work/refine") / storage.digest_inputs(config.model_dump(), inputs_of(config))
    with storage.only_one(folder), tracking.stage_run("refine", config.model_dump()) as run:
        torch.manual_seed(config.seed)
        refined = network.load(RESTORER)
        first = last = Heard.first()
        try:
            if config.joint_rounds:
                refined, held_at, last = alternate(config, folder, run, first)
            else:
                refined, held_at = train(config, folder, run, refined, first)
            figures, reasons = accept(config, refined.eval(), first, last)
            if not held_at:
                reasons.append("the guard pairs lost before any step held")
                figures["accepted"] = 0.0
        except NothingFound as error:
            # a young reasoner may be blind; the pipeline goes on with what was trained
            figures, reasons = {"accepted": 0.0}, [str(error)]
        for reason in reasons:
            print(f"refine: guard failed: {reason}", flush=True)
        print(f"refine: {'refused, the supervised restorer goes on' if reasons else 'accepted'}", flush=True)
        with storage.whole_folder(OUT) as part:
            network.save(network.load(RESTORER) if reasons else refined, part)
            if last is not first and not reasons:
                shutil.copytree(last.folder, part / INSIDE)
        storage.write_json("metrics/refine.json", figures)
        run.metrics(figures)
        run.tags({"refused_because": "; ".join(reasons)})


if __name__ == "__main__":
    tracking.telemetry_off()
    try:
        main()
    except (
        params.ParamsError,
        tracking.TrackingError,
        ReasonerError,
        network.RestorerError,
        OSError,
        ValueError,
    ) as error:
        sys.exit(f"refine: {error}")
