"""Section `evaluate` of params.yaml."""

from __future__ import annotations

from pydantic import Field

from components import params


class EvaluateParams(params.Section):
    """Seed and number of the pairs out of distribution; `gallery_pairs`: the report shows so many best, median and
    worst cases."""

    seed: int = Field(ge=0)
    ood_pairs: int = Field(ge=1)
    gallery_pairs: int = Field(ge=0)
