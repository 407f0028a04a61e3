"""The guards: what a refined restorer must not break, measured by what its reward never asked.

Validation pairs and their clean sides degraded anew; the supervised restorer sets the standard. A refined one that
fails any guard is reported with the reason, and the supervised one goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from components.refinement import likeness
from components.refinement.artefacts import artefacts
from components.refinement.config import RefineParams
from components.refinement.pictures import Pictures, Sees, restore
from components.refinement.scorer import Scorer
from components.restorer import network

AT_ONCE = 16


@dataclass(frozen=True)
class Guard:
    """One measure: its name in the report, the parameter with its tolerance, whether more is better, its words."""

    name: str
    tolerance: str
    more_is_better: bool
    words: str


GUARDS = (
    Guard("psnr", "max_psnr_loss_db", True, "PSNR in dB"),
    Guard("ssim", "max_ssim_loss", True, "SSIM"),
    Guard("gmsd", "max_gmsd_rise", False, "gradient magnitude similarity deviation"),
    Guard("vif", "max_vif_loss", True, "visual information fidelity"),
    Guard("scorer", "max_scorer_rise", False, "severity left by the second scorer"),
    Guard("peaks", "max_peaks_rise", False, "spectral peaks unlike the clean side's"),
    Guard("edges", "max_edge_change", False, "edge energy unlike the clean side's"),
    Guard("colour", "max_colour_shift", False, "colour cast"),
)


def measure(restorer: network.Restorer, reasoner: Sees, pictures: Pictures, scorer: Scorer) -> dict[str, torch.Tensor]:
    """Every guard's measure (N,) of the pictures restored and rounded to 8 bits, as they would be saved."""
    rows: dict[str, list[torch.Tensor]] = {}
    for start in range(0, len(pictures), AT_ONCE):
        some = pictures.only(list(range(start, min(start + AT_ONCE, len(pictures)))))
        restored, clean = (restore(restorer, reasoner, some) * 255).round() / 255, some.clean_sides()
        measured = {
            "psnr": likeness.psnr_db(restored, clean),
            "ssim": likeness.ssim(restored, clean),
            "gmsd": likeness.gmsd(restored, clean),
            "vif": likeness.vif(restored, clean),
            "scorer": scorer.severities(restored).sum(1),
            **artefacts(restored, clean),
        }
        for name, values in measured.items():
            rows.setdefault(name, []).append(values)
    return {name: torch.cat(values) for name, values in rows.items()}


def failures(
    supervised: dict[str, torch.Tensor], refined: dict[str, torch.Tensor], cases: list[str], config: RefineParams
) -> list[str]:
    """Why the refined restorer may not go on: one line for each guard that it fails, none if it holds them all."""
    reasons = []
    for guard in GUARDS:
        before, after = float(supervised[guard.name].mean()), float(refined[guard.name].mean())
        worse = before - after if guard.more_is_better else after - before
        allowed = getattr(config, guard.tolerance)
        # not "worse > allowed": a NaN must fail
        if not worse <= allowed:
            reasons.append(f"{guard.words}: {before:.4f} -> {after:.4f}, at most {allowed:g} worse ({guard.tolerance})")
    for case, (before, after) in psnr_by_case(supervised["psnr"], refined["psnr"], cases).items():
        if not before - after <= config.max_type_psnr_loss_db:
            allowed = config.max_type_psnr_loss_db
            reasons.append(f"PSNR of {case}: {before:.2f} -> {after:.2f} dB, at most {allowed:g} less")
    return reasons


def psnr_by_case(supervised: torch.Tensor, refined: torch.Tensor, cases: list[str]) -> dict[str, tuple[float, float]]:
    """Mean PSNR of both per case, in the order in which cases come."""
    table = {}
    for case in dict.fromkeys(cases):
        own = torch.tensor([name == case for name in cases])
        table[case] = float(supervised[own].mean()), float(refined[own].mean())
    return table


def report(supervised: dict[str, torch.Tensor], refined: dict[str, torch.Tensor], cases: list[str]) -> dict[str, float]:
    """`val_<measure>_<restorer>` and `val_psnr_<case>_<restorer>` for the log and metrics/refine.json."""
    out: dict[str, float] = {}
    for name, values in (("supervised", supervised), ("refined", refined)):
        out |= {f"val_{measure}_{name}": float(column.mean()) for measure, column in values.items()}
    for case, (before, after) in psnr_by_case(supervised["psnr"], refined["psnr"], cases).items():
        out |= {f"val_psnr_{case}_supervised": before, f"val_psnr_{case}_refined": after}
    return out
