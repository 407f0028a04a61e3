"""Joint mode: the reasoner is refined in turn with the restorer, for naming the right types at the right severities.

Its policy is its own answer: a distribution over ten digits for each type, 0 for absent, read side by side. The recipe
knows what each answer is worth, so nothing is drawn: the expected reward itself is raised, as in policy.py. A
divergence over all slots ties it to the reasoner that it began as. The pictures are degraded anew: those whose words
cost the restorer most, and as many others.

It is never rewarded for what it says of a restored picture. There the restorer's reward is read, and a reasoner that
learnt to call everything clean would earn it all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from components import params, storage
from components.annotation import recipe
from components.diagnosis import TYPES, Diagnosis
from components.reasoner import data, speed
from components.reasoner import model as models
from components.reasoner.answer import LEVELS, level_severity
from components.reasoner.calibrate import Validation, calibrate, f1
from components.reasoner.loss import AnswerLoss
from components.reasoner.reader import CALIBRATION_FILE, Reasoner
from components.refinement import likeness
from components.refinement.config import RefineParams
from components.refinement.pictures import READ_AT_ONCE
from components.restorer.conditioning import condition_vector
from components.restorer.data import as_batch
from components.restorer.network import Restorer
from components.synthesis.fresh import FreshPairs

# rank of the adapters that learn, whatever the size of the reasoner; they are merged when it is saved
RANK = 16
WEIGHT_DECAY = 0.01
# pictures are sought among so many times as many, and a step is the reasoner's own batch
SOUGHT, BATCH = 3, 32


def rewards(config: RefineParams, told: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """(B,) what answers are worth: `told` (B, 7, 10) the probabilities of the digits, `truth` (B, 7) the true ones.

    Of each type the probability that it is rightly found or rightly not, less the distance of the severity from the
    true one, in hundreds, absent being 0. A severity is read as an expectation, so that is judged: paid for single
    digits, an answer would move from the mean of what is possible to its median and be read worse.
    """
    digits = torch.arange(LEVELS + 1)
    severities = torch.cat([torch.zeros(1), level_severity(digits[1:].float())]) / 100
    right = torch.where(truth > 0, 1 - told[..., 0], told[..., 0])
    off = (told @ severities - severities[truth]).abs()
    return (config.joint_weight_types * right - config.joint_weight_severity * off).sum(1)


class Speaking:
    """A reasoner in training: adapters beside its weights, which stay and say what it would have said before."""

    def __init__(self, config: RefineParams, folder: Path, seed: int) -> None:
        model, self.tokenizer, self.sight = models.load(folder)
        # peft draws the adapters
        torch.manual_seed(seed)
        self.config = config
        self.model = models.with_lora(model, RANK)
        speed.quicken(self.model)
        self.layout = self.sight.layout(self.tokenizer)
        self.objective = AnswerLoss(self.layout, self.sight, models.position_ids(model, self.layout, self.sight.grid))
        self.optimizer = torch.optim.AdamW(
            [weight for weight in self.model.parameters() if weight.requires_grad],
            lr=config.joint_rate,
            weight_decay=WEIGHT_DECAY,
        )

    def answers(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """(B, S, most options) log-probabilities of every slot's options; what is not offered has the least."""
        logits = self.objective.answers(self.model, batch)
        own = logits.gather(2, self.layout.table.expand(len(logits), -1, -1))
        return own.masked_fill(~self.layout.offered, -1e9).log_softmax(-1)

    def step(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        """Up the expected reward of a batch of `data.Samples`; for the log, before the step."""
        now = self.answers(batch)
        with torch.no_grad(), self.model.disable_adapter():
            began = self.answers(batch)
        findings = self.layout.findings
        # where the findings are shown already there is nothing to be found out
        blank = (batch["input_ids"][:, self.layout.positions[findings]] == self.layout.blank).all(1)
        worth = rewards(self.config, now[:, findings, : LEVELS + 1].exp(), batch["chosen"][:, findings])
        gained = worth[blank].sum() / blank.sum().clamp(min=1)
        apart = (now.exp() * (now - began)).sum((1, 2)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        (self.config.joint_kl * apart - gained).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return {"joint_reward": float(gained.detach()), "joint_kl": float(apart.detach())}

    def train(self, lessons: data.Source, seed: int, log: Callable[[int, dict[str, float]], None]) -> None:
        """All steps, down to a rate of nothing, on views of these pictures."""
        length = self.config.joint_steps * BATCH
        samples = data.Samples(lessons, None, 0.0, self.layout, self.sight, length, seed)
        self.model.train()
        batches = torch.utils.data.DataLoader(samples, batch_size=BATCH)
        for number, batch in enumerate(batches):
            for values in self.optimizer.param_groups:
                values["lr"] = self.config.joint_rate * (1 - number / self.config.joint_steps)
            log(number, self.step(batch))

    def save(self, folder: Path, validation: Validation) -> None:
        """The adapters merged, the thresholds chosen anew."""
        models.save(folder, self.model, self.tokenizer, self.sight)
        calibration, _ = calibrate(Reasoner(folder), validation)
        storage.write_json(folder / CALIBRATION_FILE, calibration)


def scores_of(reasoner: Reasoner, validation: Validation) -> dict[str, float]:
    """Macro F1, mean absolute error of the present types' severities (0..100), share of clean sides left alone."""
    truth = torch.tensor([diagnosis.severities() for diagnosis in validation.diagnoses])
    reading = reasoner.read(validation.pictures)
    said, there = reasoner.present(reading), truth >= 1
    by_type = [f1(said[:, k : k + 1], there[:, k : k + 1]) for k in range(len(TYPES))]
    return {
        "macro_f1": float(torch.cat(by_type).mean()),
        "severity_mae": float((reasoner.severities(reading)[1] - truth)[there].abs().mean()),
        "clean_pass": 1 - float(reasoner.present(reasoner.read(validation.cleans)).any(1).float().mean()),
    }


def rose(before: dict[str, float], after: dict[str, float]) -> bool:
    """Whether a refined reasoner is better by one score and worse by none."""
    change = [
        after["macro_f1"] - before["macro_f1"],
        before["severity_mae"] - after["severity_mae"],
        after["clean_pass"] - before["clean_pass"],
    ]
    # not "min(change) < 0": a NaN must not pass
    return all(one >= 0 for one in change) and any(one > 0 for one in change)


@torch.no_grad()
def costly(config: RefineParams, reasoner: Reasoner, restorer: Restorer, seed: int) -> data.Annotated:
    """Pictures degraded anew, as many as there are candidates, with what is true of them.

    Half of them are, of three times as many, those whose words cost the restorer most: the dB between what it makes of
    them under the truth and under these words. The others come by chance.
    """
    try:
        fresh = FreshPairs(seed)
    except params.ParamsError as error:
        raise params.ParamsError(
            f"refine.joint_rounds: {str(error).partition(';')[0]}; use these, or set it to 0"
        ) from None
    count = SOUGHT * config.candidates
    pictures: list[np.ndarray] = []
    truths: list[Diagnosis] = []
    costs: list[float] = []
    for start in range(0, count, READ_AT_ONCE):
        made = fresh.make(list(range(start, min(start + READ_AT_ONCE, count))))
        reading = reasoner.read([one.degraded for one in made])
        for place, (one, said) in enumerate(zip(made, reasoner.diagnoses(reading), strict=True)):
            true = recipe.facts(one.degraded, one.recipe, one.severities, one.scene, one.objects)
            degraded, clean = as_batch([one.degraded]), as_batch([one.clean])
            heard = reading.embedding[place : place + 1]
            under = [restorer(degraded, condition_vector(words)[None], heard).clamp(0, 1) for words in (true, said)]
            gained, got = (float(likeness.psnr_db(painted, clean)) for painted in under)
            pictures.append(one.degraded)
            truths.append(true)
            costs.append(gained - got)
    half = config.candidates // 2
    order = sorted(range(count), key=lambda i: -costs[i])
    rest = torch.randperm(count - half, generator=torch.Generator().manual_seed(seed)).tolist()
    kept = order[:half] + [order[half + i] for i in rest[: config.candidates - half]]
    return data.Annotated([pictures[i] for i in kept], [truths[i] for i in kept], seed)


def refine_reasoner(config: RefineParams, now: Path, restorer: Restorer, folder: Path, number: int, run) -> Path:
    """The folder of the reasoner after round `number`: a better one inside `folder`, or `now` where none was found.

    A round that was finished before is not run again.
    """
    done, verdict = folder / "reasoner", folder / "reasoner.json"
    if not verdict.exists():
        seed = config.seed * 1000 + number
        reasoner, validation = Reasoner(now), Validation.load()
        speaking = Speaking(config, now, seed)

        def log(step: int, told: dict[str, float]) -> None:
            run.metrics(told, step=number * config.joint_steps + step + 1)
            words = ", ".join(f"{name} {value:.4f}" for name, value in told.items())
            print(f"refine round {number + 1}, reasoner {step + 1}/{config.joint_steps}: {words}", flush=True)

        speaking.train(costly(config, reasoner, restorer, seed), seed, log)
        shutil.rmtree(done, ignore_errors=True)
        with storage.whole_folder(done) as part:
            speaking.save(part, validation)
        scores = {"before": scores_of(reasoner, validation), "after": scores_of(Reasoner(done), validation)}
        storage.write_json(verdict, scores)
    scores = json.loads(verdict.read_text(encoding="utf-8"))
    kept = rose(scores["before"], scores["after"])
    words = ", ".join(f"{name} {scores['before'][name]:.4f} -> {value:.4f}" for name, value in scores["after"].items())
    print(f"refine round {number + 1}: reasoner {'kept' if kept else 'refused'}: {words}", flush=True)
    run.metrics({f"joint_{name}": value for name, value in scores["after"].items()}, step=number + 1)
    return done if kept else now
