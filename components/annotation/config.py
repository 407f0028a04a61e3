"""Section `annotate` of params.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components import params


class AnnotateParams(params.Section):
    """Which teacher, and for `openai` whom it asks and how. The key is no parameter: see endpoint.py."""

    teacher: Literal["recipe", "openai"]
    seed: int = Field(ge=0)
    endpoint: str = Field(min_length=1)
    model: str
    concurrency: int = Field(ge=1, le=1024)
    timeout_s: float = Field(gt=0)
    max_retries: int = Field(ge=0, le=100)
    ask_again: int = Field(ge=0, le=10)
    max_severity_error: float = Field(ge=0, le=100)
    image_px: int = Field(ge=32)
    max_tokens: int = Field(ge=16)
    temperature: float = Field(ge=0, le=2)
