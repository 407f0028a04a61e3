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

from components import params, redaction, tracking
from components.promotion import gate, record, turns, versions
from components.promotion.gate import Action, PromotionParams, Smoke, Verdict
from components.promotion.register import PAIRS
from components.promotion.turns import Turn
from components.promotion.versions import CHALLENGER, CHAMPION, PREVIOUS, PromotionError
from components.serving import smoke
from components.tracking import lineage


def measure(models: Path) -> dict:
    """Metrics of a model folder on the present test pairs. Imported late: torch and transformers take seconds."""
    from components.evaluation import measure as evaluation

    return evaluation.measure(models, PAIRS)


def smoke_test(version_folder: Path, timeout_s: int) -> Smoke:
    """Load and predict once in a fresh process, away from the repository and its secrets, as a server would."""
    # by its path, not with -m: `components` must come from the version's own code
    argv = [sys.executable, smoke.__file__, str(version_folder.absolute())]
    # the version's code runs there: it needs no service
    environment = redaction.without_secrets(os.environ)
    environment.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory() as elsewhere:
        try:
            run = subprocess.run(
                argv, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            return Smoke(None, f"no answer within {timeout_s} s (promotion.smoke_timeout_s)")
    if run.returncode:
        said = [line for line in run.stderr.splitlines() if line.strip()]
        return Smoke(None, f"exit code {run.returncode}: {redaction.redact(said[-1]) if said else 'no message'}")
    return Smoke(json.loads(run.stdout.splitlines()[-1])["seconds_per_megapixel"])


def promote(dry_run: bool = False) -> Verdict:
    """Judge the @challenger against the @champion and move the aliases. `dry_run` measures but changes nothing.

    Both are measured here, on the pairs that lie in data/pairs now. Asked again under the same circumstances it
    repeats the recorded verdict without measuring. Raises PromotionError, ParamsError, TrackingError.
    """
    limits = params.load("promotion", PromotionParams)
    if dry_run:
        verdict, _ = _verdict(versions.aliases(), limits)
        told: Action = "would promote" if verdict.accepted else "would refuse"
        return verdict if verdict.action == "unchanged" else replace(verdict, action=told)
    with turns.one_at_a_time("promoting") as turn:
        named = versions.aliases()
        record.note_moves_by_hand(named.get(CHAMPION))
        verdict, key = _verdict(named, limits)
        return verdict if verdict.action == "unchanged" else _carry_out(verdict, key, turn)


def _verdict(named: dict[str, str], limits: PromotionParams) -> tuple[Verdict, str]:
    """What is to be said of the challenger, with the digest of all that it depends on."""
    if CHALLENGER not in named:
        raise PromotionError(f"{tracking.MODEL_NAME}: there is no @{CHALLENGER}; `rnr run` trains and registers one")
    version, champion = named[CHALLENGER], named.get(CHAMPION)
    if version == champion:
        return Verdict(True, (), version=version, champion=champion, action="unchanged"), ""
    data = data_digest()
    tags = versions.version_tags(version)
    parts = [tags.get(versions.FILES_DIGEST), tags.get("rolled_back"), champion, data, limits.model_dump()]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    if tags.get("gate_key") == key and tags["gate"] == "refused":
        reasons, figures = json.loads(tags["gate_reasons"]), json.loads(tags["gate_figures"])
        return Verdict(False, tuple(reasons), figures, version, champion, "unchanged", data), key
    verdict = _judge(version, tags, champion, limits)
    return replace(verdict, version=version, champion=champion, data=data), key


def data_digest() -> str:
    """The digest of data/pairs as it lies there. Raises PromotionError unless it is what dvc.lock names."""
    found, locked = lineage.folder_digest(PAIRS), lineage.locked_digest(PAIRS)
    if found is None:
        raise PromotionError(f"{PAIRS}: not here, and both models are measured on it; `dvc pull {PAIRS}` or `rnr run`")
    if found != locked:
        raise PromotionError(
            f"{PAIRS}: what lies here ({found}) is not what dvc.lock names ({locked or 'nothing'}); "
            f"`dvc checkout {PAIRS}` or `rnr run`"
        )
    return found


def _judge(version: str, tags: dict[str, str], champion: str | None, limits: PromotionParams) -> Verdict:
    # cheap objections first: no measuring for a version that cannot be promoted anyway
    if tags.get("rolled_back"):
        reason = (
            f"version {version} was rolled back on {tags['rolled_back']}; train a better one, or bring it back with"
        )
        return Verdict(False, (f"{reason} `rnr rollback --to {version}`",))
    folder = versions.fetch_whole(version)
    tried = smoke_test(folder, limits.smoke_timeout_s)
    if tried.error:
        return Verdict(False, (f"smoke test: {tried.error}",))
    metrics = _measured(version, folder)
    against = _measured(champion, versions.fetch_whole(champion)) if champion else None
    verdict = gate.judge(metrics, against, tried, limits)
    # beside what was measured now, what the version came with: they should agree
    return replace(verdict, figures=verdict.figures | {"psnr_gain_db_registered": float(tags["psnr_gain_db"])})


def _measured(version: str, folder: Path) -> dict:
    # late, for torch takes its seconds
    from components.inference import ModelRefError

    try:
        return measure(folder / tracking.MODELS_IN_VERSION)
    except ModelRefError as error:
        raise PromotionError(
            f"version {version} cannot be measured by this code: {error}; check out the code of its git_sha "
            "(`rnr models --json`), or remove @champion to promote without a comparison"
        ) from None


def _carry_out(verdict: Verdict, key: str, turn: Turn) -> Verdict:
    done = replace(verdict, action="promoted" if verdict.accepted else "refused")
    turn.still_mine()
    judged = {
        "gate": "accepted" if verdict.accepted else "refused",
        "gate_key": key,
        "gate_data": verdict.data,
        "gate_reasons": json.dumps(verdict.reasons),
        "gate_figures": json.dumps(verdict.figures),
        "gate_time": record.now(),
    }
    versions.tag(verdict.version, judged)
    if verdict.accepted:
        # in this order a crash in between leaves the old champion in place, and the next call goes on
        if verdict.champion:
            versions.point(PREVIOUS, verdict.champion)
        versions.point(CHAMPION, verdict.version)
    record.append(
        done.action,
        version=verdict.version,
        champion_before=verdict.champion,
        champion_after=verdict.version if verdict.accepted else verdict.champion,
        data=verdict.data,
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
