"""Stage `refine`: reinforcement learning with the drop of the diagnosed severity as the reward.

    python -m components.refinement.refine

Refines on the hardest training pairs, then accepts the result only if PSNR and SSIM on validation pairs, which
the reward never saw, do not fall; otherwise the supervised restorer goes on, unchanged.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import torch

from components import params, storage, tracking
from components.reasoner.model import ReasonerError
from components.reasoner.reader import Reasoner
from components.refinement.config import RefineParams
from components.refinement.grpo import advantages, log_probability, loss_terms
from components.refinement.reward import reward_terms
from components.restorer import network
from components.restorer.data import Pairs, as_batch, load_split

REASONER, RESTORER, OUT = Path("models/reasoner"), Path("models/restorer"), Path("models/restorer-refined")
INNER_STEPS = 2
# similarity is measured in windows of this many pixels
SSIM_WINDOW = 8


@torch.inference_mode()
def restore_pairs(restorer: network.Restorer, pairs: Pairs, chosen: list[int]) -> torch.Tensor:
    """(N, 3, H, W) restored pairs under the reasoner's own diagnosis."""
    rows = [
        restorer(as_batch([pairs.degraded[i]]), pairs.predicted[i : i + 1], pairs.embeddings[i : i + 1]) for i in chosen
    ]
    return torch.cat(rows).clamp(0, 1)


def errors_db(restored: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """(N,) PSNR in dB."""
    return -10 * (restored - clean).square().flatten(1).mean(1).clamp(min=1e-10).log10()


def similarity(a: torch.Tensor, b: torch.Tensor) -> float:
    """Mean SSIM (Wang et al. 2004) over uniform windows; a, b (N, 3, H, W) in [0, 1]."""
    pool = torch.nn.functional.avg_pool2d
    mean_a, mean_b = pool(a, SSIM_WINDOW, 4), pool(b, SSIM_WINDOW, 4)
    var_a, var_b = pool(a * a, SSIM_WINDOW, 4) - mean_a**2, pool(b * b, SSIM_WINDOW, 4) - mean_b**2
    covariance = pool(a * b, SSIM_WINDOW, 4) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(score.mean())


def hardest(restorer: network.Restorer, pairs: Pairs, share: float) -> list[int]:
    """Indices of the pairs that the supervised restorer leaves worst among those with a finding, worst first."""
    findings = [i for i in range(len(pairs.ids)) if float(pairs.predicted[i, : len(network.TYPES)].max()) > 0]
    clean = as_batch([pairs.clean[i] for i in findings])
    order = errors_db(restore_pairs(restorer, pairs, findings), clean).argsort(stable=True)
    return [findings[i] for i in order[: max(1, int(share * len(findings)))].tolist()]


def step_once(restorer, reasoner, optimizer, pairs: Pairs, pool: list[int], config: RefineParams, step: int) -> dict:
    """One GRPO step on `photos_per_step` photos; returns every term for the log."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    picked = [pool[i] for i in torch.randperm(len(pool), generator=generator)[: config.photos_per_step].tolist()]
    group, photos = config.group_size, len(picked)
    condition = pairs.predicted[picked].repeat_interleave(group, 0)
    embedding = pairs.embeddings[picked].repeat_interleave(group, 0)
    degraded, clean = (as_batch([side[i] for i in picked]) for side in (pairs.degraded, pairs.clean))
    with torch.no_grad():
        mean = restorer.action_mean(condition)
        noise = torch.randn(mean.shape, generator=generator)
        action = mean + config.action_sigma * noise
        old_log = log_probability(action, mean, config.action_sigma)
        tried = restorer(degraded.repeat_interleave(group, 0), condition, embedding, action).clamp(0, 1)
    before = reasoner.score_severities(degraded).repeat_interleave(group, 0)
    terms = reward_terms(before, reasoner.score_severities(tried), tried, clean.repeat_interleave(group, 0), config)
    reward = torch.stack(list(terms.values())).sum(0).view(photos, group)
    advantage = advantages(reward).flatten()
    for _ in range(INNER_STEPS):
        policy, divergence = loss_terms(restorer.action_mean(condition), old_log, action, advantage, config)
        optimizer.zero_grad()
        (policy + config.kl_weight * divergence).backward()
        optimizer.step()
    logged = {f"reward_{name}": float(values.mean()) for name, values in terms.items()}
    spread = float(reward.std(1).mean())
    return {**logged, "reward": float(reward.mean()), "group_spread": spread, "kl": float(divergence.detach())}


def train(config: RefineParams, folder: Path, run) -> network.Restorer:
    """The refined restorer, trained from the last checkpoint in `folder` or from the supervised one."""
    pairs, reasoner = load_split("train"), Reasoner(REASONER)
    restorer = network.load(RESTORER)
    pool = hardest(restorer, pairs, config.hard_share)
    for name, weight in restorer.named_parameters():
        weight.requires_grad_(name.startswith("policy"))
    optimizer = torch.optim.Adam(restorer.policy.parameters(), lr=config.learning_rate)
    path, first = folder / "last.pt", 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        restorer.policy.load_state_dict(state["policy"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
        print(f"refine: resuming from step {first}", flush=True)
    for step in range(first, config.steps):
        logged = step_once(restorer, reasoner, optimizer, pairs, pool, config, step)
        run.metrics(logged, step=step + 1)
        print(f"refine step {step + 1}/{config.steps} reward {logged['reward']:.4f} kl {logged['kl']:.4f}", flush=True)
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            with storage.whole_file(path) as part:
                state = {"step": step + 1, "policy": restorer.policy.state_dict()}
                torch.save({**state, "optimizer": optimizer.state_dict()}, part)
            run.checkpoint(path, step + 1, {"reward": logged["reward"]})
    return restorer


def acceptance(supervised: network.Restorer, refined: network.Restorer, config: RefineParams) -> dict[str, float]:
    """Validation PSNR and SSIM of both, and whether the refined one may go on."""
    pairs = load_split("val")
    everything = list(range(len(pairs.ids)))
    clean = as_batch(pairs.clean)
    result: dict[str, float] = {}
    for name, restorer in (("supervised", supervised), ("refined", refined)):
        restored = restore_pairs(restorer, pairs, everything)
        result[f"val_psnr_{name}"] = float(errors_db(restored, clean).mean())
        result[f"val_ssim_{name}"] = similarity(restored, clean)
    holds_psnr = result["val_psnr_refined"] >= result["val_psnr_supervised"] - config.max_val_psnr_loss_db
    holds_ssim = result["val_ssim_refined"] >= result["val_ssim_supervised"] - config.max_val_ssim_loss
    return {**result, "accepted": float(holds_psnr and holds_ssim)}


def main() -> None:
    config = params.load("refine", RefineParams)
    inputs = [*storage.training_shards("data/pairs", "data/priors"), str(REASONER), str(RESTORER)]
    folder = Path("work/refine") / storage.digest_inputs(config.model_dump(), inputs)
    with storage.only_one(folder), tracking.stage_run("refine", config.model_dump()) as run:
        torch.manual_seed(config.seed)
        np.random.seed(config.seed)
        refined = train(config, folder, run)
        supervised = network.load(RESTORER)
        verdict = acceptance(supervised, refined.eval(), config)
        accepted = bool(verdict["accepted"])
        print(
            f"refine: {'accepted' if accepted else 'refused, the supervised restorer goes on'}: {verdict}", flush=True
        )
        shutil.rmtree(OUT, ignore_errors=True)
        network.save(refined if accepted else supervised, OUT)
        storage.write_json("metrics/refine.json", verdict)
        run.metrics(verdict)


if __name__ == "__main__":
    tracking.telemetry_off()
    try:
        main()
    except (
        params.ParamsError,
        tracking.TrackingError,
        ReasonerError,
        network.RestorerError,
        FileNotFoundError,
    ) as error:
        sys.exit(f"refine: {error}")
