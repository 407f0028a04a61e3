"""Stage `report`: one page of evidence for whoever reviews a training.

    python -m components.report.write

Writes reports/index.html: self-contained, below 10 MB, the same bytes from the same evidence. It knows of no champion:
a run of the flow (`rnr run`) makes it again with the gate's verdict, the seconds and the commit.
"""

from __future__ import annotations

import sys
from pathlib import Path

from components import params, storage, tracking
from components.report import evidence, page

PAGE = evidence.REPORTS / "index.html"


def write(path: Path, standing: page.Standing | None = None) -> evidence.Evidence:
    """The page of the working directory's evidence at `path`; returns the evidence.

    Raises ReportError when something is missing or the page is too large, ParamsError when params.yaml is not valid.
    """
    found = evidence.read()
    text = page.render(found, standing).encode("utf-8")
    if len(text) >= page.MAX_BYTES:
        raise evidence.ReportError(
            f"{path}: {len(text) / 1e6:.1f} MB, the limit is {page.MAX_BYTES / 1e6:g}; lower evaluate.gallery_pairs"
        )
    with storage.whole_file(path) as part:
        part.write_bytes(text)
    return found


def main() -> None:
    with tracking.stage_run("report", {}) as run:
        write(PAGE)
        run.artifact(PAGE)


if __name__ == "__main__":
    tracking.telemetry_off()
    try:
        main()
    except (params.ParamsError, tracking.TrackingError, evidence.ReportError, OSError) as error:
        sys.exit(f"report: {error}")
