"""What a training of the reasoner needs, before a machine is rented: parameters, trainable share, memory of a GPU.

    python -m components.reasoner.plan                     # params.yaml as it is
    python -m components.reasoner.plan --profile paper     # params.yaml under a profile

Builds the model without weights (torch's meta device), applies LoRA as the training does, and has DeepSpeed read its
configuration. Nothing is downloaded: the architectures of the public Qwen3-VL stand below.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from components import params
from components.reasoner import model as models
from components.reasoner.answer import Layout
from components.reasoner.config import ReasonerParams, count_processes, samples_per_process
from components.reasoner.sft import deepspeed_config

# Text width, layers, heads, key-value heads and MLP width, tied embeddings; vision depth, width, MLP width and the
# layers whose features enter the text model. Source: config.json of the public checkpoints, as repeated in
# torchtitan's experiments/qwen3_vl (2B, 8B); the 4B has the text model of Qwen3-4B and the vision tower of the 2B.
QWEN3_VL: dict[str, dict] = {
    "Qwen/Qwen3-VL-2B-Instruct": {"text": (2048, 28, 16, 8, 6144, True), "vision": (24, 1024, 4096, [5, 11, 17])},
    "Qwen/Qwen3-VL-4B-Instruct": {"text": (2560, 36, 32, 8, 9728, True), "vision": (24, 1024, 4096, [5, 11, 17])},
    "Qwen/Qwen3-VL-8B-Instruct": {"text": (4096, 36, 32, 8, 12288, False), "vision": (27, 1152, 4304, [8, 16, 24])},
}
GIB = 2**30
# bytes of a parameter: bfloat16 weight and gradient; float32 master copy and Adam's two moments
WEIGHT, GRADIENT, OPTIMIZER = 2, 2, 12
# elements of DeepSpeed's buffers for reduction and gathering (its defaults, 5e8), one of each
BUCKET_ELEMENTS, BUCKETS = 500_000_000, 2
# a general tokenizer cuts words such as `streakiness` into pieces
TOKENS_PER_WORD = 2


@dataclass(frozen=True)
class Plan:
    """Parameters in numbers; bytes on one GPU by ZeRO stage; `activations` is an estimate, good to a factor of two."""

    total: int
    trainable: int
    trainable_in_vision: int
    processes: int
    samples_on_a_gpu: int
    tokens: int
    states: dict[int, int]
    activations: int


def architecture(base: str) -> Qwen3VLConfig:
    """The configuration of a base, without its weights. Raises ReasonerError for one that is not here."""
    kind, _, size = base.partition(":")
    if kind == "scratch":
        return models.scratch_config(size, models.scratch_tokenizer([]))
    if base in QWEN3_VL:
        width, layers, heads, kv_heads, mlp, tied = QWEN3_VL[base]["text"]
        depth, vision_width, vision_mlp, deepstack = QWEN3_VL[base]["vision"]
        text = {"vocab_size": 151936, "hidden_size": width, "num_hidden_layers": layers, "head_dim": 128}
        text |= {"num_attention_heads": heads, "num_key_value_heads": kv_heads, "intermediate_size": mlp}
        vision = {"depth": depth, "hidden_size": vision_width, "intermediate_size": vision_mlp, "num_heads": 16}
        vision |= {"out_hidden_size": width, "deepstack_visual_indexes": deepstack}
        rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_interleaved": True, "mrope_section": [24, 20, 20]}
        return Qwen3VLConfig(
            text_config={**text, "rope_parameters": rope}, vision_config=vision, tie_word_embeddings=tied
        )
    if (Path(base) / "config.json").exists():
        return Qwen3VLConfig.from_pretrained(base)
    raise models.ReasonerError(f"reasoner.base: the size of {base} is not known; a folder, or: {', '.join(QWEN3_VL)}")


def without_weights(config: ReasonerParams):
    """The model that would be trained, on the meta device."""
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(architecture(config.base))
        return models.with_lora(model, config.lora_rank) if config.tuning == "lora" else model


def check_deepspeed(config: ReasonerParams, processes: int) -> None:
    """Have DeepSpeed read the configuration of the training, what is `auto` filled in. Raises its own errors."""
    from deepspeed.runtime.config import DeepSpeedConfig

    filled = deepspeed_config(config) | {
        "train_micro_batch_size_per_gpu": samples_per_process(config, processes),
        "gradient_accumulation_steps": config.gradient_accumulation,
        "gradient_clipping": 1.0,
        "bf16": {"enabled": True},
    }
    DeepSpeedConfig(filled)


def states(total: int, trainable: int, largest_layer: int, processes: int) -> dict[int, int]:
    """Bytes of weights, gradients, optimizer and buffers on one GPU, by ZeRO stage.

    Stage 2 shares out gradients and optimizer, of what is trained alone; every GPU holds all weights. Stage 3 shares
    out the weights too and gathers one layer at a time, the next one ahead.
    """
    buffers = BUCKETS * min(BUCKET_ELEMENTS, trainable) * GRADIENT
    shared = (GRADIENT + OPTIMIZER) * trainable // processes
    return {
        2: WEIGHT * total + shared + buffers,
        3: WEIGHT * total // processes + 2 * WEIGHT * largest_layer + shared + buffers,
    }


def activations(architecture: Qwen3VLConfig, samples: int, patches: int, tokens: int, slots: int) -> int:
    """Bytes kept for the backward pass of `samples`, attention computed without its matrix, nothing recomputed.

    Per token and layer, in bfloat16: the residual stream and the norms (in float32) count as 8 widths, attention as
    queries, keys and values before and after rotation and its result, the MLP as its hidden values (gated: four).
    """
    text, vision = architecture.text_config, architecture.vision_config
    heads = (2 * text.num_attention_heads + 2 * text.num_key_value_heads) * text.head_dim
    text_layer = 8 * text.hidden_size + 2 * heads + 4 * text.intermediate_size
    vision_layer = (8 + 8) * vision.hidden_size + 2 * vision.intermediate_size
    layers = tokens * text.num_hidden_layers * text_layer + patches * vision.depth * vision_layer
    # logits of the slots alone, in float32: themselves, their softmax, their gradient
    logits = 3 * 4 * slots * text.vocab_size
    return samples * (2 * layers + logits)


def make_plan(config: ReasonerParams) -> Plan:
    """The plan of a training. Raises ParamsError or ReasonerError in one line."""
    processes = count_processes(config)
    samples = samples_per_process(config, processes)
    model = without_weights(config)
    check_deepspeed(config, processes)
    sight = models.Sight(config.thumbnail_px, config.crop_px, config.views, [])
    patches = sum(t * h * w for t, h, w in sight.grid)
    layout: Layout = sight.layout(models.scratch_tokenizer([]))
    images = patches // 4
    tokens = images + TOKENS_PER_WORD * (len(layout.template) - images)
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    # LoRA's own parameters beside the base's: the size that is published counts the base alone
    added = sum(trained.values()) if config.tuning == "lora" else 0
    total = sum(sizes.values())
    return Plan(
        total=total - added,
        trainable=sum(trained.values()),
        trainable_in_vision=sum(size for name, size in trained.items() if ".visual." in name),
        processes=processes,
        samples_on_a_gpu=samples,
        tokens=tokens,
        states=states(total, sum(trained.values()), max(sizes.values()), processes),
        activations=activations(architecture(config.base), samples, patches, tokens, len(layout.slots)),
    )


def describe(config: ReasonerParams, plan: Plan) -> str:
    """The plan in lines for a person."""
    share, vision = plan.trainable / plan.total, plan.trainable_in_vision / plan.trainable
    lines = [
        f"{config.base}, tuning {config.tuning}: {plan.total / 1e9:.3f} billion parameters, "
        f"{plan.trainable / 1e6:.1f} million trained ({share:.2%}; {vision:.0%} of them in the vision tower)",
        f"{plan.processes} processes, {plan.samples_on_a_gpu} samples of {plan.tokens} tokens on each at a time, "
        f"{config.batch_size * config.gradient_accumulation} in a step",
        "memory of a GPU in GiB: weights, gradients, optimizer, buffers + activations (estimated)",
    ]
    for stage, used in plan.states.items():
        mark = "  <- reasoner.zero_stage" if stage == config.zero_stage else ""
        both = (used + plan.activations) / GIB
        lines.append(f"  ZeRO-{stage}: {used / GIB:.1f} + {plan.activations / GIB:.1f} = {both:.1f}{mark}")
    return "\n".join(lines)


def load_params(profile: str) -> ReasonerParams:
    """Section `reasoner` of params.yaml, under a profile if one is named. Raises ParamsError."""
    values = params.read_file().get("reasoner", {})
    if profile:
        values = {**values, **params.read_file(Path("profiles") / f"{profile}.yaml").get("reasoner", {})}
    return params.parse("reasoner", values, ReasonerParams)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--profile", default="", help="a file of profiles/, without .yaml")
    config = load_params(parser.parse_args().profile)
    print(describe(config, make_plan(config)))


if __name__ == "__main__":
    try:
        main()
    except (models.ReasonerError, params.ParamsError, yaml.YAMLError) as error:
        sys.exit(f"plan: {error}")
