"""Section `refine` of params.yaml."""

from __future__ import annotations

from pydantic import Field

from components import params


class RefineParams(params.Section):
    """GRPO on the restorer's policy: sizes, weights of the reward, and what acceptance allows."""

    seed: int = Field(ge=0)
    steps: int = Field(ge=0)
    photos_per_step: int = Field(ge=1)
    group_size: int = Field(ge=2)
    hard_share: float = Field(gt=0, le=1)
    action_sigma: float = Field(gt=0)
    learning_rate: float = Field(gt=0)
    clip_ratio: float = Field(gt=0)
    kl_weight: float = Field(ge=0)
    weight_severity: float = Field(ge=0)
    weight_rise: float = Field(ge=0)
    weight_fidelity: float = Field(ge=0)
    max_val_psnr_loss_db: float = Field(ge=0)
    max_val_ssim_loss: float = Field(ge=0)
    save_every: int = Field(ge=1)
