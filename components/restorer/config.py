"""Section `restorer` of params.yaml."""

from __future__ import annotations

from pydantic import Field

from components import params


class RestorerParams(params.Section):
    """The network's size and its training."""

    seed: int = Field(ge=0)
    base: str = Field(min_length=1)
    widths: list[int] = Field(min_length=3, max_length=3)
    blocks: list[int] = Field(min_length=3, max_length=3)
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    crop_px: int = Field(ge=32, multiple_of=16)
    learning_rate: float = Field(gt=0)
    drop_diagnosis: float = Field(ge=0, le=1)
    drop_embedding: float = Field(ge=0, le=1)
    fresh_share: float = Field(ge=0, le=1)
    predicted_share: float = Field(ge=0, le=1)
    misheard_share: float = Field(ge=0, le=1)
    ema_decay: float = Field(ge=0, lt=1)
    save_every: int = Field(ge=1)
    bfloat16: bool
    keep_checkpoints: int = Field(ge=1)
