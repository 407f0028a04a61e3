"""Scores of restored photos (pyiqa) and of diagnoses.

pyiqa is imported when the first score is asked for: its licence is non-commercial, and only evaluation uses it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from components.diagnosis import TYPES

# two 8-bit pictures that differ in nothing have infinite PSNR; this stands for it in means and files
IDENTICAL_DB = 60.0
BINS = 10


@cache
def _metric(name: str):
    import pyiqa

    return pyiqa.create_metric(name, device=torch.device("cpu"))


def _tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def psnr(image: np.ndarray, clean: np.ndarray) -> float:
    """Peak signal-to-noise ratio over RGB in dB, at most IDENTICAL_DB; (H, W, 3) uint8."""
    if np.array_equal(image, clean):
        return IDENTICAL_DB
    return min(IDENTICAL_DB, float(_metric("psnr")(_tensor(image), _tensor(clean))))


def ssim(image: np.ndarray, clean: np.ndarray) -> float:
    """Structural similarity of the luma (Wang et al. 2004); (H, W, 3) uint8, both sides at least 11 px."""
    return float(_metric("ssim")(_tensor(image), _tensor(clean)))


def reasoner_scores(
    presence: np.ndarray, severity: np.ndarray, found: np.ndarray, truth: np.ndarray, cases: list[str]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Scores in all and per type; arrays (N, 7): probability, severity where present, said, true severity.

    macro_f1 of presence; clean_pass_rate: clean photos without any finding; mixture_exact: two-fold mixtures
    with exactly the right types; severity_mae and Spearman rank correlation over present types;
    ece: expected calibration error of the presence probabilities in ten bins.
    """
    present = truth >= 1
    per_type: dict[str, dict[str, float]] = {}
    for index, kind in enumerate(TYPES):
        here = present[:, index]
        hits = float((found[:, index] & here).sum())
        per_type[kind] = {
            "f1": 2 * hits / max(1.0, float(found[:, index].sum() + here.sum())),
            "prior_f1": prior_f1(float(here.mean())),
            "severity_mae": _mean(np.abs(severity[here, index] - truth[here, index])),
            "severity_spearman": spearman(severity[here, index], truth[here, index]),
            "n": int(here.sum()),
        }
    is_clean = ~present.any(1)
    double = np.array([case == "mixture2" for case in cases])
    scores = {
        "macro_f1": _mean([s["f1"] for s in per_type.values()]),
        "prior_macro_f1": _mean([s["prior_f1"] for s in per_type.values()]),
        "clean_pass_rate": _mean(~found[is_clean].any(1)),
        "mixture_exact": _mean((found == present)[double].all(1)),
        "severity_mae": _mean([s["severity_mae"] for s in per_type.values()]),
        "severity_spearman": _mean([s["severity_spearman"] for s in per_type.values()]),
        "ece": calibration_error(presence.ravel(), present.ravel()),
    }
    return scores, per_type


def prior_f1(share: float) -> float:
    """F1 of the best answer that ignores the photo: always 'present' (2p / (1 + p)), never being worth 0."""
    return 2 * share / (1 + share)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation; 0 where fewer than three values or no spread."""
    if len(a) < 3:
        return 0.0
    from scipy.stats import rankdata

    ranks = rankdata(a), rankdata(b)
    if min(r.std() for r in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def area_under_curve(score: np.ndarray, happened: np.ndarray) -> float:
    """Area under the receiver's curve: how often what happened scores above what did not; 0.5 where one is absent."""
    from scipy.stats import rankdata

    yes, no = int(happened.sum()), int((~happened).sum())
    if not yes or not no:
        return 0.5
    return float((rankdata(score)[happened].sum() - yes * (yes + 1) / 2) / (yes * no))


def calibration_error(probability: np.ndarray, happened: np.ndarray) -> float:
    """Expected calibration error (Naeini et al. 2015) with BINS equal bins."""
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    error = 0.0
    for number in range(BINS):
        here = bins == number
        if here.any():
            error += here.mean() * abs(probability[here].mean() - happened[here].mean())
    return float(error)


def _mean(values) -> float:
    values = np.asarray(values, dtype=float)
    return float(values.mean()) if values.size else 0.0
