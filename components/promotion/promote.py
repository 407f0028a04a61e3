"""Put the @challenger through the gate and, if it holds, make it the @champion.

    python -m components.promotion.promote [--dry-run]

Exit code 0: promoted or nothing to do; 1: refused; the reasons are printed and recorded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from components import params, tracking
from components.promotion import gate, versions
from components.promotion.gate import PromotionParams, Smoke, Verdict
from components.promotion.register import METRICS, PAIRS
from components.promotion.versions import CHALLENGER, CHAMPION, PREVIOUS, PromotionError
from components.serving import smoke
from components.tracking import lineage

REPORTS_IN_VERSION = Path("artifacts/reports")


def measure(models: Path) -> dict:
    """Metrics of a model folder on the present test pairs. Imported late: torch and transformers take seconds."""
    from components.evaluation import measure as evaluation

    return evaluation.measure(models, PAIRS)


def smoke_test(version_folder: Path, timeout_s: int) -> Smoke:
    """Load and predict once in a fresh process, away from the repository, as a server would."""
    # by its path, not with -m: `components` must come from the version's own code
    argv = [sys.executable, smoke.__file__, str(version_folder.absolute())]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as elsewhere:
        try:
            run = subprocess.run(
                argv, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            return Smoke(None, f"no answer within {timeout_s} s (promotion.smoke_timeout_s)")
    if run.returncode:
        said = [line for line in run.stderr.splitlines() if line.strip()]
        return Smoke(None, f"exit code {run.returncode}: {said[-1] if said else 'no message'}")
    return Smoke(json.loads(run.stdout.splitlines()[-1])["seconds_per_megapixel"])


def promote(dry_run: bool = False) -> Verdict:
    """Judge the @challenger against the @champion and move the aliases. `dry_run` measures but changes nothing.

    Asked again under the same circumstances it repeats the recorded verdict without measuring. Raises PromotionError,
    ParamsError, TrackingError.
    """
    limits = params.load("promotion", PromotionParams)
    with versions.one_at_a_time():
        named = versions.aliases()
        if CHALLENGER not in named:
            raise PromotionError(
                f"{tracking.MODEL_NAME}: there is no @{CHALLENGER}; `rnr run` trains and registers one"
            )
        version, champion = named[CHALLENGER], named.get(CHAMPION)
        if version == champion:
            return Verdict(True, (), version=version, champion=champion, action="unchanged")
        tags = versions.version_tags(version)
        key = _circumstances(tags, champion, limits)
        if tags.get("gate_key") == key and tags["gate"] == "refused":
            reasons, figures = json.loads(tags["gate_reasons"]), json.loads(tags["gate_figures"])
            return Verdict(False, tuple(reasons), figures, version, champion, "unchanged")
        verdict = replace(_judge(version, tags, champion, limits), version=version, champion=champion)
        if dry_run:
            return replace(verdict, action="would promote" if verdict.accepted else "would refuse")
        return _carry_out(verdict, key)


def _circumstances(tags: dict[str, str], champion: str | None, limits: PromotionParams) -> str:
    """A digest of all that a verdict depends on."""
    data = lineage.locked_digest(PAIRS) or "none"
    parts = [tags.get("content_digest"), tags.get("rolled_back"), champion, data, limits.model_dump()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _judge(version: str, tags: dict[str, str], champion: str | None, limits: PromotionParams) -> Verdict:
    data = lineage.locked_digest(PAIRS) or "none"
    # cheap objections first: no measuring for a version that cannot be promoted anyway
    if tags.get("rolled_back"):
        reason = (
            f"version {version} was rolled back on {tags['rolled_back']}; train a better one, or bring it back with"
        )
        return Verdict(False, (f"{reason} `rnr rollback --to {version}`",))
    if tags.get("dataset_digest") != data:
        reason = f"version {version} was measured on {PAIRS} {tags.get('dataset_digest')}, which is now {data}"
        return Verdict(False, (f"{reason}; `rnr run` measures anew",))
    folder = tracking.fetch_version(f"models:/{tracking.MODEL_NAME}/{version}")
    metrics = json.loads((folder / REPORTS_IN_VERSION / METRICS).read_text(encoding="utf-8"))
    tried = smoke_test(folder, limits.smoke_timeout_s)
    against = None
    if champion:
        against = measure(tracking.fetch_model(f"models:/{tracking.MODEL_NAME}/{champion}"))
    return gate.judge(metrics, against, tried, limits)


def _carry_out(verdict: Verdict, key: str) -> Verdict:
    done = replace(verdict, action="promoted" if verdict.accepted else "refused")
    if verdict.accepted:
        # in this order a crash in between leaves the old champion in place, and the next call goes on
        if verdict.champion:
            versions.point(PREVIOUS, verdict.champion)
        versions.point(CHAMPION, verdict.version)
    versions.tag(
        verdict.version,
        {
            "gate": "accepted" if verdict.accepted else "refused",
            "gate_key": key,
            "gate_reasons": json.dumps(verdict.reasons),
            "gate_figures": json.dumps(verdict.figures),
            "gate_time": versions.now(),
        },
    )
    versions.audit(
        done.action,
        version=verdict.version,
        champion_before=verdict.champion,
        champion_after=verdict.version if verdict.accepted else verdict.champion,
        reasons=list(verdict.reasons),
        figures=verdict.figures,
    )
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description="Put the challenger through the gate.")
    parser.add_argument("--dry-run", action="store_true", help="measure and judge, change nothing")
    arguments = parser.parse_args()
    tracking.telemetry_off()
    try:
        verdict = promote(arguments.dry_run)
    except (PromotionError, params.ParamsError, tracking.TrackingError) as error:
        sys.exit(f"promote: {error}")
    print(f"version {verdict.version}: {verdict.action} (champion before: {verdict.champion or 'none'})")
    for reason in verdict.reasons:
        print(f"  {reason}")
    return 0 if verdict.accepted else 1


if __name__ == "__main__":
    sys.exit(main())
