"""Register the models and reports of the working directory as the @challenger. The same content is one version.

python -m components.promotion.register
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from components import params, tracking
from components.promotion import gate, turns, versions
from components.promotion.versions import CHALLENGER, PromotionError
from components.refinement.delivered import REASONER, REFINED, reasoner_of
from components.serving import package
from components.tracking import lineage

REPORTS = Path("reports")
METRICS = "metrics.json"
PAIRS = "data/pairs"


@dataclass(frozen=True)
class Registered:
    """`created` is False when a version with the same content was there already."""

    version: str
    created: bool


def read_metrics() -> dict:
    """reports/metrics.json. Raises PromotionError when a model, the report or a key of it is missing."""
    for path in (REASONER, REFINED, REPORTS / METRICS):
        if not path.exists():
            raise PromotionError(f"{path}: not found; run `dvc repro` first")
    try:
        return json.loads((REPORTS / METRICS).read_text(encoding="utf-8"))
    except ValueError as error:
        raise PromotionError(f"{REPORTS / METRICS}: not valid JSON ({error}); run `dvc repro -f evaluate`") from None


def register(run_id: str | None = None, stage_runs: dict[str, str | None] | None = None) -> Registered:
    """A version of `reason-and-restore` from the working directory, pointed at by @challenger.

    `run_id`: the flow's parent run; `stage_runs`: stage -> run that made it. Raises PromotionError, TrackingError.
    """
    metrics = read_metrics()
    reasoner = reasoner_of(REFINED)
    digest = versions.files_digest(reasoner, REFINED, REPORTS / METRICS)
    with turns.one_at_a_time("registering"):
        same = [found for found in versions.all_versions() if found.tags.get(versions.FILES_DIGEST) == digest]
        if same:
            version = str(same[0].version)
        else:
            tags = version_tags(metrics, digest, run_id, stage_runs or {})
            version = package.log(reasoner, REFINED, REPORTS, run_id, tags, model_card(metrics, tags))
        if versions.aliases().get(CHALLENGER) != version:
            versions.point(CHALLENGER, version)
    return Registered(version, not same)


def version_tags(metrics: dict, digest: str, run_id: str | None, stage_runs: dict[str, str | None]) -> dict[str, str]:
    """Where the version comes from, and its two headline figures."""
    tags = {
        versions.FILES_DIGEST: digest,
        "dvc_lock": lineage.file_digest("dvc.lock") or "none",
        "params": lineage.file_digest(params.PARAMS_FILE) or "none",
        "dataset_digest": lineage.locked_digest(PAIRS) or "none",
        **lineage.code_version(),
    }
    try:
        tags["psnr_gain_db"] = f"{gate.gain(metrics, 'all'):.6f}"
        tags["macro_f1"] = f"{gate.number(metrics, 'reasoner.macro_f1'):.6f}"
    except gate.Missing as error:
        where = REPORTS / METRICS
        raise PromotionError(f"{where}: {error.args[0]} is missing or no number; run `dvc repro -f evaluate`") from None
    if run_id:
        tags["run_id"] = run_id
    return tags | {f"run_id.{stage}": made_by for stage, made_by in stage_runs.items() if made_by}


def model_card(metrics: dict, tags: dict[str, str]) -> str:
    """Markdown: what it is and is for, what it scored, where it comes from, where it ends."""
    rows = [
        f"| {case} | {scores.get('n', '')} | {scores.get('psnr_degraded')} | {scores.get('psnr_restored')} "
        f"| {scores.get('ssim_degraded')} | {scores.get('ssim_restored')} |"
        for case, scores in sorted(metrics["restoration"].items())
    ]
    reasoner = [f"- {name}: {value}" for name, value in sorted(metrics["reasoner"].items())]
    return "\n".join(
        [
            "# Reason and Restore",
            "Diagnoses what is wrong with a photo, restores it under that diagnosis, diagnoses the result.",
            "## Use",
            "Photos of people, places and things that light, weather, lens or codec spoilt. Not for evidence, medicine "
            "or measurement: a restoration is an estimate, and what it adds was never seen.",
            "## Restoration, test pairs",
            "| case | pairs | PSNR degraded, dB | PSNR restored, dB | SSIM degraded | SSIM restored |",
            "|---|---|---|---|---|---|",
            *rows,
            "## Reasoner, test pairs",
            *reasoner,
            "## Limits",
            "Measured on synthetic damage of its own test photos. A photo called clean comes back as it was; where the "
            "second look finds new damage, the original or a weaker result comes back.",
            "## Origin",
            *[f"- {name}: {value}" for name, value in sorted(tags.items())],
            "",
        ]
    )


if __name__ == "__main__":
    tracking.telemetry_off()
    try:
        done = register()
    except (PromotionError, tracking.TrackingError) as failure:
        sys.exit(f"register: {failure}")
    print(f"version {done.version} {'registered' if done.created else 'was registered already'}, @{CHALLENGER}")
