"""What a training starts from: a reasoner of ours or a model with a tokenizer of its own, tuned in full or by LoRA."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

from components.reasoner import model as models
from components.reasoner.answer import nameable, training_text
from components.reasoner.config import ReasonerParams
from tests.reasoner.runs import MODULE, checkpoint, copy_of, kill_at, losses, tracked
from tests.tiny import stage, tiny_params, write_params


def byte_pair_tokenizer(vocabulary_size: int = 700) -> PreTrainedTokenizerFast:
    """A small tokenizer of the kind that Qwen has: bytes, merged by how often they stand side by side."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers import models as kinds

    tokenizer = Tokenizer(kinds.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size, special_tokens=list(models.SPECIAL), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([training_text(["boat", "tree"]).replace(" ", "\n")] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=models.SPECIAL[0])


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A folder with a tiny Qwen3-VL under a byte-pair tokenizer, no reasoner of ours."""
    folder = tmp_path_factory.mktemp("foreign")
    tokenizer = byte_pair_tokenizer()
    torch.manual_seed(0)
    Qwen3VLForConditionalGeneration(models.scratch_config("tiny", tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ours(workspace, tmp_path_factory):
    """A reasoner that the pipeline trained from nothing, copied elsewhere."""
    if not (workspace / "models/reasoner").exists():
        stage(workspace, MODULE)
    return shutil.copytree(workspace / "models/reasoner", tmp_path_factory.mktemp("ours") / "reasoner")


def config(**changes) -> ReasonerParams:
    return ReasonerParams.model_validate(tiny_params(reasoner=changes)["reasoner"])


def test_names_that_a_general_tokenizer_cannot_tell_apart_are_left_out(foreign):
    tokenizer = byte_pair_tokenizer()
    assert tokenizer.encode("boat")[0] == tokenizer.encode("boats")[0] != tokenizer.encode("tree")[0]
    assert nameable(tokenizer, ["boats", "boat", "tree", "nothingness"]) == ["boats", "tree"]
    model, tokenizer, sight = models.build(config(base=str(foreign)), ["boat", "tree", "boats"])
    assert sight.objects == ["boat", "tree"]
    layout = sight.layout(tokenizer)
    assert all(len(set(options.tolist())) == len(options) for options in layout.options)
    assert tokenizer.decode(layout.template).count("#") == len(layout.slots)
    assert model.dtype == models.precision()


def test_a_tokenizer_that_cannot_tell_the_answers_apart_is_one_line(tmp_path):
    byte_pair_tokenizer(vocabulary_size=270).save_pretrained(tmp_path)  # bytes alone: street and snow begin alike
    tokenizer = byte_pair_tokenizer(vocabulary_size=270)
    Qwen3VLForConditionalGeneration(models.scratch_config("tiny", tokenizer)).save_pretrained(tmp_path)
    with pytest.raises(models.ReasonerError, match=r"cannot give answers: its tokenizer .* of the slot scene"):
        models.build(config(base=str(tmp_path)), [])


def test_words_that_a_word_level_tokenizer_does_not_know_are_no_names():
    assert nameable(models.scratch_tokenizer(["boat"]), ["boat", "zebra", "giraffe"]) == ["boat"]


def test_a_reasoner_of_ours_keeps_its_own_names(ours):
    known = json.loads((ours / "answer.json").read_text())["objects"]
    _, tokenizer, sight = models.build(config(base=str(ours)), ["zebra", *known[:1]])
    assert known and sight.objects == known
    unknown = tokenizer.convert_tokens_to_ids("<|unknown|>")
    assert not any(unknown in options for options in sight.layout(tokenizer).options)


def test_scratch_has_nothing_to_adapt():
    with pytest.raises(models.ReasonerError, match="lora needs a trained base"):
        models.build(config(tuning="lora"), [])


def test_full_tuning_of_a_reasoner_keeps_the_best_checkpoint(workspace, ours, tmp_path):
    folder = copy_of(workspace, tmp_path / "full")
    # ever larger steps, far too large ones: the reasoner gets worse and worse
    harsh = {"learning_rate": 1.0, "warmup_share": 0.9, "keep_checkpoints": 1}
    write_params(folder, reasoner={"base": str(ours), **harsh})
    done = stage(folder, MODULE)
    judged = {int(name.split()[1]): loss for name, loss in losses(folder).items() if name.startswith("val_loss")}
    best = min(judged, key=lambda step: judged[step])
    assert best != 8, judged
    assert f"the best checkpoint is that of step {best}" in done.stdout
    assert tracked(folder) == ({2, 4, 6, 8}, [best])
    kept = {path.name for path in checkpoint(folder, 8).parent.glob("checkpoint-*")}
    assert kept == {"checkpoint-8", f"checkpoint-{best}"}
    finished = load_file(folder / "models/reasoner/model.safetensors")
    chosen, last = (load_file(checkpoint(folder, step) / "model.safetensors") for step in (best, 8))
    assert all(torch.equal(finished[name], chosen[name]) for name in finished)
    assert any(not torch.equal(finished[name], last[name]) for name in finished)


def test_lora_on_a_reasoner_crosses_from_two_processes_to_one(workspace, ours, tmp_path):
    folder = copy_of(workspace, tmp_path / "lora")
    lora = {"base": str(ours), "tuning": "lora", "lora_rank": 4, "keep_checkpoints": 4}
    write_params(folder, reasoner={**lora, "processes": 2})
    kill_at(folder, 2, tmp_path / "log")
    assert (checkpoint(folder, 2) / "adapter_model.safetensors").exists()
    write_params(folder, reasoner=lora)
    done = stage(folder, MODULE)
    assert re.search(r"resuming from checkpoint-\d+", done.stdout)
    logged = losses(folder)
    assert logged["val_loss 8"] < logged["val_loss 2"]
    finished = load_file(folder / "models/reasoner/model.safetensors")
    base = load_file(ours / "model.safetensors")
    # merged: the same names, other weights, no adapter
    assert finished.keys() == base.keys()
    assert any(not torch.equal(finished[name], base[name]) for name in base)
    assert not (folder / "models/reasoner/adapter_model.safetensors").exists()
