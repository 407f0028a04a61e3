"""The README's figures are those of reports/metrics.json."""

from __future__ import annotations

import json

from components.evaluation.readme import with_scores
from tests.tiny import REPOSITORY


def test_the_readme_shows_the_committed_scores():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    metrics = json.loads((REPOSITORY / "reports/metrics.json").read_text(encoding="utf-8"))
    assert with_scores(text, metrics) == text, "run python -m components.evaluation.readme"
