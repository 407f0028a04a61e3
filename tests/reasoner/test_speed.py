"""What was made faster gives what it gave before."""

from __future__ import annotations

import pytest
import torch

from components.reasoner import model as models
from components.reasoner import pictures, speed
from components.reasoner.answer import FACTORS_BLOCK, FINDINGS, THOUGHT
from components.reasoner.config import ReasonerParams
from components.reasoner.reader import Reasoner
from tests.tiny import tiny_params

CONFIG = ReasonerParams.model_validate(tiny_params()["reasoner"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reasoner")
    models.save(folder, *models.build(CONFIG, ["sky", "tree"]))
    return folder


def test_the_vision_tower_sees_the_same(folder, photos):
    plain, _, sight = models.load(folder)
    patches = pictures.look(pictures.views_of(photos[0], sight.thumbnail_px, sight.crop_px, 3))
    grid = torch.tensor(sight.grid).repeat(len(patches), 1)

    def seen_and_learnt():
        plain.zero_grad()
        features = plain.model.get_image_features(patches.flatten(0, 1), grid, return_dict=True)
        merged = torch.cat(list(features.pooler_output))
        merged.square().sum().backward()
        gradients = [weight.grad.clone() for weight in plain.model.visual.parameters() if weight.grad is not None]
        return merged.detach(), gradients

    before = seen_and_learnt()
    speed.quicken(plain)
    after = seen_and_learnt()
    assert torch.allclose(before[0], after[0], atol=1e-6)
    assert len(before[1]) == len(after[1])
    for one, other in zip(before[1], after[1], strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def test_decoding_with_kept_keys_equals_whole_passes(folder, photos):
    """The probabilities and the hidden state of three passes over whole sequences, one a block."""
    reasoner = Reasoner(folder)
    reading = reasoner.read(photos)
    layout = reasoner.layout
    for number, photo in enumerate(photos):
        views = reasoner.views([photo])[0]
        ids = layout.template.repeat(len(views), 1)
        for block in (THOUGHT, FINDINGS, FACTORS_BLOCK):
            with torch.inference_mode():
                hidden = reasoner._run(ids, 0, ids.shape[1], None, reasoner._sight(views))
                logits = reasoner.model.lm_head(hidden[:, layout.positions - 1])
            for slot in torch.nonzero(layout.blocks == block).flatten().tolist():
                expected = logits[:, slot, layout.options[slot]].softmax(-1).mean(0)
                assert torch.allclose(reading.probabilities[slot][number], expected, atol=1e-5)
                ids[:, layout.positions[slot]] = layout.options[slot][expected.argmax()]
            if block == FINDINGS:
                state = hidden[:, layout.positions[layout.findings] - 1].mean((0, 1))
                assert torch.allclose(reading.embedding[number], state, atol=1e-5)


def test_scores_are_those_of_the_blank_form(folder, photos):
    """A reward is read with nothing decided; it stops before the factors, which cannot change it."""
    reasoner = Reasoner(folder)
    scores = reasoner.score_severities(photos)
    layout = reasoner.layout
    views = reasoner.views(photos[:1])[0]
    with torch.inference_mode():
        hidden = reasoner._run(
            layout.template.repeat(len(views), 1), 0, len(layout.template), None, reasoner._sight(views)
        )
        digits = reasoner.model.lm_head(hidden[:, layout.positions[layout.findings] - 1])[..., layout.digits]
    table = digits.softmax(-1).mean(0)
    presence = 1 - table[:, 0]
    severity = (table[:, 1:] * torch.linspace(1, 100, 9)).sum(-1) / presence
    assert torch.allclose(scores[0], presence * severity, atol=1e-3)


def test_the_passes_are_those_of_transformers(folder, photos):
    """Logits of every slot, of the blank form, by transformers' own forward pass and by ours."""
    reasoner = Reasoner(folder)
    plain, _, sight = models.load(folder)
    layout = reasoner.layout
    views = reasoner.views(photos[:1])[0]
    ids = layout.template.repeat(len(views), 1)
    with torch.inference_mode():
        theirs = plain(
            input_ids=ids,
            pixel_values=pictures.look(views).flatten(0, 1),
            image_grid_thw=torch.tensor(sight.grid).repeat(len(views), 1),
            mm_token_type_ids=(ids == plain.config.image_token_id).int(),
        ).logits[:, layout.positions - 1]
        hidden = reasoner._run(ids, 0, ids.shape[1], None, reasoner._sight(views))
        ours = reasoner.model.lm_head(hidden[:, layout.positions - 1])
    assert torch.allclose(ours.softmax(-1), theirs.softmax(-1), atol=1e-5)
