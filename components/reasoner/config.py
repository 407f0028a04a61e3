"""Section `reasoner` of params.yaml, and the sizes of the reasoners that start from nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from components import params

# what changes where and how a training runs, not what it learns: a training goes on when these change
WITHOUT_EFFECT = {"processes", "hostfile", "keep_checkpoints"}


class ReasonerParams(params.Section):
    """How the reasoner is built, tuned and launched.

    `base` is a local path, a hub name (Qwen/Qwen3-VL-2B-Instruct) or `scratch:<size>` with a size of SCRATCH.
    `batch_size` counts the samples of a step over all processes together (times `gradient_accumulation`), so that
    any number of processes trains the same way; `processes` counts those of this machine, unless there is a hostfile.
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

    def what_it_learns(self) -> dict:
        """The parameters that decide the result, up to rounding: they name the training's work folder."""
        return self.model_dump(exclude=WITHOUT_EFFECT)


def count_processes(config: ReasonerParams) -> int:
    """How many processes will train: those of this machine, or all slots of the hostfile. Raises ParamsError."""
    if not config.hostfile:
        return config.processes
    try:
        lines = Path(config.hostfile).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise params.ParamsError(f"reasoner.hostfile: cannot read {config.hostfile}: {error.strerror}") from None
    hosts = [line.split("#")[0].strip() for line in lines]
    slots = [re.fullmatch(r"\S+\s+slots=([1-9]\d*)", host) for host in hosts if host]
    if not slots or not all(slots):
        raise params.ParamsError(f"reasoner.hostfile: {config.hostfile} must hold lines such as 'node1 slots=8'")
    return sum(int(slot[1]) for slot in slots if slot)


def samples_per_process(config: ReasonerParams, processes: int) -> int:
    """Each process's share of a micro batch. Raises ParamsError when it is not whole."""
    share, rest = divmod(config.batch_size, processes)
    if rest or not share:
        who = f"the {processes} slots of reasoner.hostfile" if config.hostfile else f"reasoner.processes: {processes}"
        raise params.ParamsError(
            f"reasoner.batch_size: {config.batch_size} samples over all processes cannot be shared evenly among "
            f"{who}; choose a multiple of {processes}"
        )
    return share


# Vision depth and width, text layers and width, heads; the merger's output is the text width.
SCRATCH: dict[str, dict[str, int]] = {
    "tiny": {"vision_depth": 2, "vision_width": 96, "text_layers": 2, "text_width": 96, "heads": 4},
    "small": {"vision_depth": 3, "vision_width": 128, "text_layers": 2, "text_width": 128, "heads": 4},
    "base": {"vision_depth": 4, "vision_width": 192, "text_layers": 4, "text_width": 192, "heads": 6},
}
