"""Section `ingest` of params.yaml."""

from __future__ import annotations

from pydantic import Field

from components import params


class IngestParams(params.Section):
    """A source is "builtin" (data/photos), a folder or s3://bucket/prefix; sizes in pixels; fractions of all photos.

    The limits from `max_noise` on say what is no clean photo: see components/photos/quality.py.
    """

    sources: list[str] = Field(min_length=1)
    longest_side_px: int = Field(ge=64)
    min_side_px: int = Field(ge=16)
    val_fraction: float = Field(gt=0, le=0.4)
    test_fraction: float = Field(gt=0, le=0.5)
    photos_per_shard: int = Field(ge=1)
    max_pixels: int = Field(ge=1)
    max_noise: float = Field(ge=0)
    max_blur: float = Field(ge=0, le=1)
    max_haze: float = Field(ge=0, le=1)
    max_blockiness: float = Field(ge=0)
    min_highlight: float = Field(ge=0, le=1)
    max_clipped: float = Field(ge=0, le=1)
