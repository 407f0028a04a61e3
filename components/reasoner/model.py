"""The reasoner's weights: a Qwen3-VL from a path, a hub name or from nothing, with its answer layout beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from components import storage
from components.reasoner import pictures
from components.reasoner.answer import Layout, nameable, training_text
from components.reasoner.config import SCRATCH, ReasonerParams

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
ANSWER_FILE = "answer.json"
# Every linear layer, the vision tower's too: what noise, blur and compression leave in a photo is what a tower
# trained to name things has learnt to overlook, and the pictures of evidence are unlike all it was trained on
# (docs/decisions.md). peft leaves the output layer out.
LORA_TARGETS = "all-linear"


class ReasonerError(ValueError):
    """A reasoner cannot be built or loaded; the message is one line."""


@dataclass(frozen=True)
class Sight:
    """What a reasoner was trained to look at and to name; stored as answer.json beside its weights."""

    thumbnail_px: int
    crop_px: int
    views: int
    objects: list[str]

    @property
    def grid(self) -> list[list[int]]:
        return pictures.grid_thw(self.thumbnail_px, self.crop_px)

    def layout(self, tokenizer) -> Layout:
        merged = [t * h * w // pictures.MERGE**2 for t, h, w in self.grid]
        return Layout(tokenizer, self.objects, merged)


def scratch_tokenizer(objects: list[str]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer of exactly the words that answers use; the same words give the same ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = sorted(set(training_text(objects).split()))
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, "<|unknown|>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unknown|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<|unknown|>", pad_token=SPECIAL[0])
    fast.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    return fast


def scratch_config(size: str, tokenizer: PreTrainedTokenizerFast) -> Qwen3VLConfig:
    """A small Qwen3-VL configuration. Raises ReasonerError for an unknown size."""
    if size not in SCRATCH:
        raise ReasonerError(
            f"reasoner.base: scratch:{size} is unknown; allowed: {', '.join(f'scratch:{s}' for s in SCRATCH)}"
        )
    shape = SCRATCH[size]
    token = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    width, heads = shape["text_width"], shape["heads"]
    return Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": 3 * width,
            "num_hidden_layers": shape["text_layers"],
            "num_attention_heads": heads,
            "num_key_value_heads": heads // 2,
            "head_dim": width // heads,
            "max_position_embeddings": 2048,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_interleaved": True,
                # three sections (time, row, column) that fill half a head
                "mrope_section": [width // heads // 2 - 2 * (width // heads // 6), *[width // heads // 6] * 2],
            },
        },
        vision_config={
            "depth": shape["vision_depth"],
            "hidden_size": shape["vision_width"],
            "intermediate_size": 2 * shape["vision_width"],
            "num_heads": heads,
            "out_hidden_size": width,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": list(range(shape["vision_depth"]))[-shape["text_layers"] :],
        },
        image_token_id=token["<|image_pad|>"],
        video_token_id=token["<|video_pad|>"],
        vision_start_token_id=token["<|vision_start|>"],
        vision_end_token_id=token["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def precision() -> torch.dtype:
    """What a training computes in: bfloat16 where the device has it (not by emulation), else float32."""
    has_it = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has_it else torch.float32


def build(config: ReasonerParams, objects: list[str]):
    """(model, tokenizer, sight) to start training from. Raises ReasonerError in one line.

    `objects` are the names that the annotations use; a base that is a reasoner of ours keeps its own, and names that
    the base's tokenizer cannot tell apart are left out.
    """
    torch.manual_seed(config.seed)
    kind, _, size = config.base.partition(":")
    if kind == "scratch":
        if config.tuning == "lora":
            raise ReasonerError("reasoner.tuning: lora needs a trained base; use 'full' with scratch bases")
        tokenizer = scratch_tokenizer(objects)
        model = Qwen3VLForConditionalGeneration(scratch_config(size, tokenizer))
    else:
        model, tokenizer = load_base(config.base)
        objects = nameable(tokenizer, own_objects(config.base) or objects)
    sight = Sight(config.thumbnail_px, config.crop_px, config.views, objects)
    try:
        sight.layout(tokenizer)
    except ValueError as error:
        raise ReasonerError(f"reasoner.base: {config.base} cannot give answers: {error}") from None
    if config.tuning == "lora":
        model = with_lora(model, config.lora_rank)
    return model, tokenizer, sight


def load_base(base: str):
    """(model, tokenizer) of a path or a hub name, in the precision of training. Raises ReasonerError."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
        model = Qwen3VLForConditionalGeneration.from_pretrained(base, dtype=precision(), use_safetensors=True)
    except (OSError, ValueError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ReasonerError(f"reasoner.base: cannot load {base}: {reason}") from None
    return model, tokenizer


def own_objects(base: str) -> list[str]:
    """The object names that a base knows if it is a reasoner of ours, whose tokenizer knows no others; else none."""
    path = Path(base) / ANSWER_FILE
    if not path.exists():
        return []
    try:
        return Sight(**json.loads(path.read_text(encoding="utf-8"))).objects
    except (ValueError, TypeError) as error:
        raise ReasonerError(f"reasoner.base: {path} is not what a reasoner leaves: {error}") from None


def with_lora(model, rank: int):
    """The model frozen, with trainable low-rank adapters (Hu et al. 2021) beside LORA_TARGETS."""
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=LORA_TARGETS))


def from_checkpoint(checkpoint: Path, config: ReasonerParams):
    """The model as it was at a checkpoint of this training, LoRA still beside its base."""
    if config.tuning == "lora":
        from peft import PeftModel

        return PeftModel.from_pretrained(load_base(config.base)[0], checkpoint)
    return Qwen3VLForConditionalGeneration.from_pretrained(checkpoint, dtype=precision(), use_safetensors=True)


def save(folder: Path, model, tokenizer, sight: Sight) -> None:
    """Hugging Face files plus answer.json; LoRA is merged; the same weights give the same bytes."""
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    storage.write_json(folder / ANSWER_FILE, asdict(sight))


def load(folder: str | Path, device: str = "cpu"):
    """(model in eval mode, tokenizer, sight) of a saved reasoner. Raises ReasonerError in one line."""
    folder = Path(folder)
    try:
        sight = Sight(**json.loads((folder / ANSWER_FILE).read_text(encoding="utf-8")))
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = Qwen3VLForConditionalGeneration.from_pretrained(folder, use_safetensors=True)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ReasonerError(f"{folder}: not a reasoner: {reason}") from None
    return model.eval().to(device), tokenizer, sight


def position_ids(model, layout: Layout, grid: list[list[int]]) -> torch.Tensor:
    """(3, 1, L) multimodal rotary positions, the same for every sequence of a layout."""
    ids = layout.template[None]
    core = model.get_base_model() if hasattr(model, "get_base_model") else model
    is_image = (ids == core.config.image_token_id).int()
    return core.model.get_rope_index(ids, is_image, image_grid_thw=torch.tensor(grid))[0]
