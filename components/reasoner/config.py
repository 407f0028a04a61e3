"""Section `reasoner` of params.yaml, and the sizes of the reasoners that start from nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components import params


class ReasonerParams(params.Section):
    """How the reasoner is built, tuned and launched.

    `base` is a local path, a hub name (Qwen/Qwen3-VL-2B-Instruct) or `scratch:<size>` with a size of SCRATCH.
    """

    seed: int = Field(ge=0)
    base: str
    tuning: Literal["full", "lora"]
    lora_rank: int = Field(ge=1)
    thumbnail_px: int = Field(ge=32, multiple_of=32)
    crop_px: int = Field(ge=32, multiple_of=32)
    views: int = Field(ge=1, le=9)
    fresh_share: float = Field(ge=0, le=1)
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    gradient_accumulation: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup_share: float = Field(ge=0, lt=1)
    save_every: int = Field(ge=1)
    keep_checkpoints: int = Field(ge=1)
    zero_stage: Literal[0, 1, 2, 3]
    processes: int = Field(ge=1)
    hostfile: str
    object_vocabulary: int = Field(ge=1)


# Vision depth and width, text layers and width, heads; the merger's output is the text width.
SCRATCH: dict[str, dict[str, int]] = {
    "tiny": {"vision_depth": 2, "vision_width": 96, "text_layers": 2, "text_width": 96, "heads": 4},
    "small": {"vision_depth": 3, "vision_width": 128, "text_layers": 2, "text_width": 128, "heads": 4},
    "base": {"vision_depth": 4, "vision_width": 192, "text_layers": 4, "text_width": 192, "heads": 6},
}
