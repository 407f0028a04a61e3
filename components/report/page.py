"""The evaluation report as one HTML page that needs nothing beside itself: no network, no script to be read.

The page is a function of the evidence: the same evidence gives the same bytes. What only a run of the flow knows (the
champion, seconds, the commit) comes as a `Standing` and makes another page of it.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from PIL import Image

from components import params
from components.diagnosis import TYPES
from components.evaluation import plots
from components.promotion.gate import CASES, PromotionParams, Verdict
from components.report import figures, guards, intervals
from components.report.evidence import Case, Evidence
from components.report.intervals import Interval
from components.tracking.run import flatten

TEMPLATE = "page.html.j2"
# the report must open in a mail program as well: pictures are shrunk and packed with hardly visible loss
PICTURE_PX, WEBP_QUALITY = 320, 88
MAX_BYTES = 10_000_000
GROUPS = {
    "best": "the largest gains",
    "median": "the middle of the ranking: what to expect",
    "worst": "the smallest gains, or the largest losses",
}


@dataclass(frozen=True)
class Standing:
    """What a run of the flow adds: the gate's verdict, stage -> (outcome, seconds), and words on the origin."""

    verdict: Verdict
    stages: Mapping[str, tuple[str, float]]
    origin: dict[str, str]


@dataclass(frozen=True)
class Row:
    """One line of the table of cases; `gain` and `change` (over the champion) are in dB."""

    case: str
    gain: float
    interval: Interval | None
    strip: Markup
    change: float | None

    @property
    def sign(self) -> str:
        """good or bad where the whole interval is on one side of zero, else nothing."""
        low, high = self.interval or (0.0, 0.0)
        return "good" if low > 0 else "bad" if high < 0 else ""


@dataclass(frozen=True)
class Picture:
    """One case of the gallery with its pictures as data addresses."""

    told: dict
    degraded: str
    restored: str
    clean: str


def render(evidence: Evidence, standing: Standing | None = None) -> str:
    """The page. Raises ParamsError when section `promotion` of params.yaml is not valid."""
    limits = params.parse("promotion", evidence.params.get("promotion"), PromotionParams)
    known = intervals.of_figures(evidence.table)
    verdict = standing.verdict if standing else None
    rows = list(case_rows(evidence, known, verdict))
    context = {
        "evidence": evidence,
        "standing": standing,
        "verdict": verdict,
        "intervals": known,
        "photos": evidence.table["photo_id"].nunique(),
        "degraded_pairs": int((evidence.table["case"] != "clean").sum()),
        "rows": rows,
        "axis": figures.gain_axis(scale_of(evidence.table)),
        "change_of_all": weighted_change(evidence, verdict),
        "types": TYPES,
        "panels": {kind: figures.severity_panel(points, kind) for kind, points in by_type(evidence.table)},
        "reliability": figures.reliability_panel(plots.reliability(evidence.table)),
        "confusion": confusion_shares(evidence.table),
        "guards": guards.guards(evidence, limits, verdict),
        "groups": GROUPS,
        "gallery": [picture(case) for case in evidence.gallery],
        "parameters": flatten(evidence.params),
        "all_figures": flatten(evidence.metrics),
    }
    return environment().get_template(TEMPLATE).render(context)


@cache
def environment() -> jinja2.Environment:
    """Strict: what a template names must be there. Everything that is not Markup is escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "minus": minus,
        "words": words,
        "signed": signed,
        "between": between,
        "severities": severities,
        "count": count,
    }
    return made


def words(name: str) -> str:
    """low_light -> low light; mixture2 -> mixture of two."""
    named = {"mixture2": "mixture of two", "mixture3": "mixture of three", "all": "all degraded", "jpeg": "JPEG"}
    return named.get(name, name.replace("_", " "))


def minus(text: str) -> str:
    """A hyphen before a digit as a real minus."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)


def signed(value: float, digits: int = 2) -> str:
    """+1.20, −0.35 (with a real minus), 0.00."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def between(interval: Interval | None, digits: int = 2, sign: bool = False) -> str:
    """1.02 to 3.11, or nothing."""
    if interval is None:
        return ""
    low, high = (signed(v, digits) if sign else f"{v:.{digits}f}".replace("-", "−") for v in interval)
    return f"{low} to {high}"


def severities(diagnosis: dict) -> str:
    """haze 62 (95%), noise 30 (81%); clean where there is nothing."""
    found = diagnosis["findings"]
    named = [
        f"{words(kind)} {found[kind]['severity']:.0f} ({found[kind]['confidence']:.0%})"
        for kind in TYPES
        if kind in found
    ]
    return ", ".join(named) or "clean"


def count(value: float) -> str:
    """3.4 million, 12 thousand, 870."""
    for size, name in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if value >= size:
            return f"{value / size:.1f} {name}"
    return f"{value:.0f}"


def gains(table: pd.DataFrame) -> np.ndarray:
    """(N,) restored minus degraded PSNR in dB."""
    return (table["psnr_restored"] - table["psnr_degraded"]).to_numpy()


def scale_of(table: pd.DataFrame) -> figures.Scale:
    return figures.gain_scale(gains(table))


def case_rows(evidence: Evidence, known: dict[str, Interval], verdict: Verdict | None) -> Iterator[Row]:
    """A row for each case of the metrics: the seven types, mixtures, all degraded pairs, clean photos."""
    table = evidence.table
    scale = scale_of(table)
    for case in (*CASES, "all", "clean"):
        scores = evidence.metrics["restoration"].get(case)
        if not scores:
            continue
        here = table[table["case"] != "clean"] if case == "all" else table[table["case"] == case]
        gain = scores["psnr_restored"] - scores["psnr_degraded"]
        interval = known.get(f"restoration.{case}.psnr_gain")
        strip = figures.gain_strip(gains(here), gain, interval, scale, words(case))
        change = verdict.figures.get(f"psnr_change_db.{case}") if verdict else None
        yield Row(case, gain, interval, strip, weighted_change(evidence, verdict) if case == "all" else change)


def weighted_change(evidence: Evidence, verdict: Verdict | None) -> float | None:
    """dB over the champion on all degraded pairs, from the gate's changes per case; None where there are none."""
    if verdict is None:
        return None
    changes = [(evidence.number(f"restoration.{c}.n"), verdict.figures.get(f"psnr_change_db.{c}")) for c in CASES]
    known = [(n, change) for n, change in changes if n is not None and change is not None]
    return sum(n * change for n, change in known) / sum(n for n, _ in known) if known else None


def by_type(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The points of the severity plots, in the order of TYPES."""
    points = plots.severity_points(table)
    for kind in TYPES:
        yield kind, points[points["type"] == kind]


def confusion_shares(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """What was there -> what was found -> share of its pairs, for pairs of one type and clean ones."""
    found = plots.confusion(table)
    out = {}
    for case in (*TYPES, "clean"):
        pairs = int((table["case"] == case).sum())
        if pairs:
            counts = found[found["case"] == case]["found"].value_counts()
            out[case] = {kind: int(counts.get(kind, 0)) / pairs for kind in (*TYPES, plots.NOTHING)}
    return out


def picture(case: Case) -> Picture:
    """A case with its strip cut into three."""
    with Image.open(case.strip) as file:
        strip = file.convert("RGB")
        side = strip.width // 3
        parts = [strip.crop((number * side, 0, (number + 1) * side, strip.height)) for number in range(3)]
    return Picture(case.told, *(data_address(part) for part in parts))


def data_address(image: Image.Image) -> str:
    """A picture of at most PICTURE_PX as a data: address."""
    image.thumbnail((PICTURE_PX, PICTURE_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
