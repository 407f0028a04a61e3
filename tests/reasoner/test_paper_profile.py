"""The paper's size without its machine: the model is built without weights, and the plan adds up."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from components import params
from components.reasoner import model as models
from components.reasoner import plan
from components.reasoner.config import ReasonerParams
from components.reasoner.sft import deepspeed_config
from tests.tiny import REPOSITORY, environment, tiny_params

# parameters in billions, as the public checkpoints hold them
PUBLISHED = {"2B": 2.128, "4B": 4.438, "8B": 8.767}


def profile(name: str, **changes) -> ReasonerParams:
    values = params.read_file(REPOSITORY / "params.yaml")["reasoner"]
    patch = params.read_file(REPOSITORY / f"profiles/{name}.yaml")["reasoner"]
    return ReasonerParams.model_validate({**values, **patch, **changes})


@pytest.fixture(scope="module")
def paper() -> plan.Plan:
    return plan.make_plan(profile("paper"))


@pytest.mark.parametrize(("size", "billions"), PUBLISHED.items())
def test_the_architectures_have_the_published_number_of_parameters(size, billions):
    base = f"Qwen/Qwen3-VL-{size}-Instruct"
    config = profile("paper", base=base, tuning="full")
    assert sum(p.numel() for p in plan.without_weights(config).parameters()) / 1e9 == pytest.approx(billions, abs=5e-4)


def test_lora_trains_little_and_reaches_both_towers_but_not_the_output_layer(paper):
    assert paper.total / 1e9 == pytest.approx(PUBLISHED["8B"], abs=5e-4)
    assert 0.003 < paper.trainable / paper.total < 0.01
    assert 0 < paper.trainable_in_vision < paper.trainable / 2
    trained = {name for name, p in plan.without_weights(profile("paper")).named_parameters() if p.requires_grad}
    for part in (
        "visual.blocks.0.attn.qkv.",
        "visual.merger.linear_fc1.",
        "layers.0.self_attn.q_proj.",
        "mlp.up_proj.",
    ):
        assert any(part in name for name in trained), part
    assert not any("lm_head" in name for name in trained)


def test_the_paper_fits_its_gpus(paper):
    """80 GB: 74.5 GiB."""
    assert paper.processes == 8 and paper.samples_on_a_gpu == 4
    assert all(used + paper.activations < 74.5 * plan.GIB for used in paper.states.values())
    assert paper.states[3] < paper.states[2]


def test_full_tuning_of_the_paper_needs_its_optimizer_shared_out():
    full = plan.make_plan(profile("paper", tuning="full"))
    assert full.trainable == full.total
    # 2 bytes of weights on each GPU, 14 bytes of gradients and optimizer shared by 8, and two buffers of 1e9 bytes
    assert full.states[2] == pytest.approx((2 + 14 / 8) * full.total + 2e9, rel=1e-6)
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

    _, rough = estimate_zero2_model_states_mem_needs(full.total, 8, 1, cpu_offload=False, additional_buffer_factor=1)
    assert full.states[2] < rough < 2 * full.states[2]


def test_one_gpu_of_24_gb_is_enough_for_the_profile_gpu():
    gpu = plan.make_plan(profile("gpu"))
    assert gpu.processes == 1
    assert gpu.states[2] + gpu.activations < 22.3 * plan.GIB


def test_deepspeed_reads_the_configuration(monkeypatch):
    plan.check_deepspeed(profile("paper", zero_stage=3), 8)
    from components.reasoner import sft

    broken = {**deepspeed_config(profile("paper")), "zero_optimization": {"stage": 7}}
    monkeypatch.setattr(plan, "deepspeed_config", lambda config: broken)
    with pytest.raises(ValueError, match="stage"):
        plan.check_deepspeed(profile("paper"), 8)
    assert sft.deepspeed_config(profile("paper"))["zero_optimization"]["stage"] == 2


def test_a_base_of_unknown_size_is_one_line(tmp_path):
    with pytest.raises(models.ReasonerError, match="the size of Qwen/Other is not known"):
        plan.architecture("Qwen/Other")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3_vl"}), encoding="utf-8")
    assert plan.architecture(str(tmp_path)).vision_config.depth == 27


def test_the_command_says_what_the_present_parameters_need(tmp_path):
    (tmp_path / "params.yaml").write_text(json.dumps({"reasoner": tiny_params()["reasoner"]}), encoding="utf-8")
    argv = [sys.executable, "-m", "components.reasoner.plan"]
    run = {"cwd": tmp_path, "env": environment(), "capture_output": True, "text": True, "check": False}
    done = subprocess.run(argv, **run)
    assert "scratch:tiny, tuning full: 0.00" in done.stdout and "<- reasoner.zero_stage" in done.stdout
    failed = subprocess.run([*argv, "--profile", "nowhere"], **run)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("plan: profiles/nowhere.yaml: not found")
