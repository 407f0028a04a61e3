"""`rnr run`, `promote`, `rollback`, `history`, `models`: what the engineer who owns the pipeline needs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from components import tracking
from rnr import console

if TYPE_CHECKING:
    from components.promotion.gate import Verdict
    from flows.retrain import Summary


def run(args: argparse.Namespace) -> int:
    """`rnr run`: the flow. Exit code 1 when a stage failed; a refused model is a result, not a failure."""
    tracking.telemetry_off()
    from flows import temporary_server

    # its start takes as long as the imports
    temporary_server.begin()
    from flows import preflight, retrain

    # wrong parameters are wrong use (2); whatever stops the run later is a failure (1)
    preflight.check_params()
    try:
        summary = retrain.run(args.parallelism, args.warm_start)
    except retrain.RetrainError as error:
        raise console.Failed(f"run: {error}") from None
    if args.json:
        console.put_json(summary.as_dict())
    else:
        put_summary(summary)
    return console.OK


def put_summary(summary: Summary) -> None:
    """Stages, verdict and version of a run."""
    console.put_table(("stage", "outcome", "seconds"), [(s.name, s.outcome, float(s.seconds)) for s in summary.stages])
    count = len(summary.executed)
    print(f"{count} of {len(summary.stages)} stages executed in {summary.seconds:.0f} s")
    print(verdict_line(summary.verdict))


def verdict_line(verdict: Verdict) -> str:
    """version 3: refused: haze lost 0.5 dB against version 2; ..."""
    reasons = f": {'; '.join(verdict.reasons)}" if verdict.reasons else ""
    against = f" (champion before: version {verdict.champion})" if verdict.champion else " (no champion before)"
    return f"version {verdict.version}: {verdict.action}{reasons}{against}"


def promote(args: argparse.Namespace) -> int:
    """`rnr promote`: exit code 1 when the gate refuses."""
    tracking.telemetry_off()
    from components.promotion import promote as promotion
    from components.promotion.versions import PromotionError

    try:
        verdict = promotion.promote(args.dry_run)
    except (PromotionError, tracking.TrackingError) as error:
        raise console.Failed(f"promote: {error}") from None
    if args.json:
        console.put_json(asdict(verdict))
    else:
        print(verdict_line(verdict))
    return console.OK if verdict.accepted else console.SOME_FAILED


def rollback(args: argparse.Namespace) -> int:
    """`rnr rollback`."""
    tracking.telemetry_off()
    from components.promotion import rollback as rolling
    from components.promotion.versions import PromotionError

    try:
        done = rolling.rollback(args.to)
    except (PromotionError, tracking.TrackingError) as error:
        raise console.Failed(f"rollback: {error}") from None
    if args.json:
        console.put_json(asdict(done))
    elif done.before == done.after:
        print(f"version {done.after} is the champion already")
    else:
        print(f"champion: version {done.before} -> version {done.after}")
    return console.OK


def history(args: argparse.Namespace) -> int:
    """`rnr history`: the record of promotions, the oldest first; exit code 1 when it was tampered with."""
    tracking.telemetry_off()
    from components.promotion import record, versions

    try:
        entries = record.read()
        faults = record.faults(entries, versions.aliases().get(versions.CHAMPION))
    except tracking.TrackingError as error:
        raise console.Failed(f"history: {error}") from None
    if args.json:
        whole = [{**entry.content, "sha256": entry.sha256} for entry in entries]
        console.put_json({"entries": whole, "faults": faults})
        return console.SOME_FAILED if faults else console.OK
    rows = []
    for entry in entries:
        told = entry.content
        moved = f"{told.get('champion_before') or '-'} -> {told.get('champion_after') or '-'}"
        who = f"{told.get('by')} on {told.get('host')}"
        why = "; ".join(_strings(told.get("reasons")))
        rows.append((entry.number, told.get("time"), told.get("action"), told.get("version"), moved, who, why))
    if rows:
        console.put_table(("entry", "time (UTC)", "action", "version", "champion", "by", "because"), rows)
    for fault in faults:
        console.warn(f"rnr: history: {fault}")
    print(f"{len(rows)} entries, {'the record is NOT whole' if faults else 'the record is whole'}")
    return console.SOME_FAILED if faults else console.OK


def models(args: argparse.Namespace) -> int:
    """`rnr models`: one line a version, newest first."""
    tracking.telemetry_off()
    from components.promotion import versions

    try:
        rows = versions.list_models()
    except tracking.TrackingError as error:
        raise console.Failed(f"models: {error}") from None
    if args.json:
        console.put_json(rows)
        return console.OK
    if not rows:
        print(f"no version of {tracking.MODEL_NAME} is registered; `rnr run` trains and registers one")
        return console.OK
    head = ("version", "aliases", "created", "verdict", "PSNR gain (dB)", "macro F1", "git")
    keys = ("version", "aliases", "created", "verdict", "psnr_gain_db", "macro_f1", "git_sha")
    table = []
    for row in rows:
        shown = {**row, "aliases": ", ".join(f"@{alias}" for alias in _strings(row["aliases"])) or "-"}
        table.append([str(shown[key])[:10] if key == "git_sha" else shown[key] for key in keys])
    console.put_table(head, table)
    return console.OK


def _strings(value: object) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else []
