"""Write the scores of reports/metrics.json into the README, between its two markers.

python -m components.evaluation.readme
"""

from __future__ import annotations

import json
from pathlib import Path

from components.diagnosis import TYPES

README, METRICS = Path("README.md"), Path("reports/metrics.json")
BEGIN, END = "<!-- scores: begin -->", "<!-- scores: end -->"
CASES = (*TYPES, "mixture2", "mixture3", "all", "clean")


def table(metrics: dict) -> str:
    """Markdown of the scores, a line per degradation."""
    lines = [
        "| degradation | n | PSNR, dB: degraded -> restored | SSIM: degraded -> restored | F1 | severity error |",
        "|---|---|---|---|---|---|",
    ]
    for case in CASES:
        scores = metrics["restoration"][case]
        said = metrics["reasoner_types"].get(case)
        reasoner = f"{said['f1']:.2f} | {said['severity_mae']:.1f}" if said else " | "
        lines.append(
            f"| {case.replace('_', ' ')} | {scores['n']} "
            f"| {scores['psnr_degraded']:.2f} -> {scores['psnr_restored']:.2f} "
            f"| {scores['ssim_degraded']:.3f} -> {scores['ssim_restored']:.3f} | {reasoner} |"
        )
    said, refined = metrics["reasoner"], metrics["refinement"]
    lines += [
        "",
        f"Reasoner: macro F1 {said['macro_f1']:.3f} (always answering the prior: {said['prior_macro_f1']:.3f}), "
        f"clean photos passed {said['clean_pass_rate']:.2f}, exact two-fold mixtures {said['mixture_exact']:.2f}, "
        f"severity Spearman {said['severity_spearman']:.2f}, calibration error {said['ece']:.3f}, "
        f"answers that parse {said['parse_rate']:.2f}.",
        "",
        f"Refinement: severity left {refined['severity_left_supervised']:.1f} -> "
        f"{refined['severity_left_refined']:.1f}, PSNR {refined['psnr_supervised']:.2f} -> "
        f"{refined['psnr_refined']:.2f} dB, out of distribution {refined['ood_psnr_supervised']:.2f} -> "
        f"{refined['ood_psnr_refined']:.2f} dB{_foreign(refined)}, {'accepted' if refined['accepted'] else 'refused'}.",
    ]
    return "\n".join(lines)


def _foreign(refined: dict) -> str:
    """Corruptions by other toolkits' formulae; reports of older versions have none."""
    if "third_party_psnr_refined" not in refined:
        return ""
    before, after = refined["third_party_psnr_supervised"], refined["third_party_psnr_refined"]
    return f", other toolkits' corruptions {before:.2f} -> {after:.2f} dB"


def with_scores(text: str, metrics: dict) -> str:
    """The README's text with the block between the markers replaced. Raises ValueError without markers."""
    if BEGIN not in text or END not in text:
        raise ValueError(f"README.md: the markers {BEGIN} and {END} are missing")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{table(metrics)}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    scores = json.loads(METRICS.read_text(encoding="utf-8"))
    README.write_text(with_scores(README.read_text(encoding="utf-8"), scores), encoding="utf-8")
