"""The evaluation report with what only a run knows: the verdict, the champion, the seconds, the commit.

It goes to work/report/index.html, to the run in MLflow and, as its headline and a link, to Prefect as the artifact
`evaluation-report`. The page of the stage `report` is left alone: it is DVC's. A run in which nothing was executed and
nothing decided makes no new page: it points to the run that has it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from components import storage, tracking
from components.promotion.gate import Verdict
from components.tracking import lineage
from flows import parent_run
from flows.stage import StageResult

if TYPE_CHECKING:
    from components.report.evidence import Evidence

REPORT_STAGE = "report"
PAGE = Path("work/report/index.html")
# of what the page tells, and the MLflow run that has it
PUBLISHED = Path("work/report/published.json")
ARTIFACT = "evaluation-report"


@task(cache_policy=NO_CACHE, task_run_name="publish report")
def publish_report(parent: str, stages: tuple[StageResult, ...], verdict: Verdict) -> None:
    """Write, log and announce the report of the run `parent`. Raises ReportError, ParamsError, TrackingError."""
    # late: the page needs torch and scipy, seconds which a run with nothing to do shall not take
    from components.report import page, write

    origin = {
        "MLflow run": parent,
        "version": f"{tracking.MODEL_NAME} {verdict.version}",
        **lineage.code_version(),
        "dvc.lock": lineage.file_digest("dvc.lock") or "none",
    }
    seconds = {stage.name: (stage.outcome, stage.seconds) for stage in stages}
    evidence = write.write(PAGE, page.Standing(verdict, seconds, origin))
    place = parent_run.attach(parent, PAGE)
    create_markdown_artifact(
        key=ARTIFACT, markdown=headline(evidence, verdict, place), description="Evaluation report of the last run"
    )
    storage.write_json(PUBLISHED, {**subject(verdict), "run": parent})
    get_run_logger().info("report: %s", place)


def subject(verdict: Verdict) -> dict[str, str]:
    """What a page is about: the store, the version, and the state of the working directory."""
    lock = lineage.file_digest("dvc.lock") or "none"
    return {"store": tracking.scrub(tracking.uri()), "version": verdict.version, "dvc_lock": lock}


def told_before(stages: tuple[StageResult, ...], verdict: Verdict) -> str | None:
    """The run whose page still tells all: nothing was executed since, nothing decided. None where a new one is due."""
    if verdict.action != "unchanged" or any(stage.outcome != "skipped" for stage in stages) or not PAGE.exists():
        return None
    try:
        known = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return known["run"] if {**subject(verdict), "run": known.get("run")} == known else None


def headline(evidence: Evidence, verdict: Verdict, place: str) -> str:
    """Markdown: the verdict, the figures that matter, where the page is."""
    from components.report import page

    scores = evidence.metrics["restoration"]["all"]
    gain = scores["psnr_restored"] - scores["psnr_degraded"]
    change = page.weighted_change(evidence, verdict)
    against = f"; {change:+.3f} dB against champion {verdict.champion}" if change is not None else ""
    lines = [
        f"## Version {verdict.version}: {verdict.action}",
        f"- gain over all degraded pairs: **{gain:+.2f} dB**{against}",
        f"- macro F1 of the reasoner: **{evidence.metrics['reasoner']['macro_f1']:.3f}**",
        *(f"- refused: {reason}" for reason in verdict.reasons),
        "",
        f"[The evaluation report]({place})" if place.startswith("http") else f"The evaluation report: `{place}`",
    ]
    return "\n".join(lines)
