"""Section `evaluate` of params.yaml."""

from __future__ import annotations

from pydantic import Field

from components import params


class EvaluateParams(params.Section):
    """Seed of the pairs out of distribution; how many of them, and of the pairs in the gallery."""

    seed: int = Field(ge=0)
    ood_pairs: int = Field(ge=1)
    gallery_pairs: int = Field(ge=0)
