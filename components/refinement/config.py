"""Section `refine` of params.yaml."""

from __future__ import annotations

from pydantic import Field, model_validator

from components import params


class RefineParams(params.Section):
    """Refinement of the restorer: where its pictures come from, how it learns, its reward, and what it must not break.

    A weight of 0 switches a term off. `max_...` are the guards: how much worse the refined restorer may be on
    validation pictures than the supervised one. `joint_...` are the joint mode's, in which the reasoner is refined too.
    """

    seed: int = Field(ge=0)
    steps: int = Field(ge=0)
    photos_per_step: int = Field(ge=1)
    group_size: int = Field(ge=4, multiple_of=4)
    candidates: int = Field(ge=2)
    anew_share: float = Field(ge=0, lt=1)
    hard_share: float = Field(gt=0, le=1)
    photos: str
    photos_share: float = Field(ge=0, le=1)
    explore_sigma: float = Field(gt=0)
    learning_rate: float = Field(ge=0)
    policy_rate: float = Field(ge=0)
    policy_kl: float = Field(ge=0)
    kl_weight: float = Field(ge=0)
    kl_target: float = Field(gt=0)
    kl_unlabelled: float = Field(ge=1)
    weight_supervised: float = Field(ge=0)
    weight_severity: float = Field(ge=0)
    weight_rise: float = Field(ge=0)
    weight_fidelity: float = Field(ge=0)
    weight_quality: float = Field(ge=0)
    weight_judge: float = Field(ge=0)
    judge_endpoint: str
    judge_model: str
    judge_timeout_s: float = Field(gt=0)
    guard_every: int = Field(ge=1)
    guard_pairs: int = Field(ge=1)
    max_psnr_loss_db: float = Field(ge=0)
    max_type_psnr_loss_db: float = Field(ge=0)
    max_ssim_loss: float = Field(ge=0)
    max_gmsd_rise: float = Field(ge=0)
    max_vif_loss: float = Field(ge=0)
    max_scorer_rise: float = Field(ge=0)
    max_peaks_rise: float = Field(ge=0)
    max_edge_change: float = Field(ge=0)
    max_colour_shift: float = Field(ge=0)
    save_every: int = Field(ge=1)
    joint_rounds: int = Field(ge=0)
    joint_steps: int = Field(ge=1)
    joint_rate: float = Field(gt=0)
    joint_kl: float = Field(ge=0)
    joint_weight_types: float = Field(ge=0)
    joint_weight_severity: float = Field(ge=0)

    @model_validator(mode="after")
    def _something_is_learnt(self) -> RefineParams:
        if self.steps and not (self.learning_rate or self.policy_rate):
            raise ValueError("learning_rate and policy_rate are both 0, so nothing is learnt; set steps to 0 instead")
        return self
