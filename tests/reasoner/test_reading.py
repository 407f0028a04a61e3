"""What the reasoner sees and says: pictures, the answer's form, and that every answer parses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.diagnosis import SCENES, TYPES, Diagnosis, Finding
from components.reasoner import answer, pictures
from components.reasoner import model as models
from components.reasoner.config import ReasonerParams
from components.reasoner.reader import Reasoner
from tests.tiny import tiny_params

CONFIG = ReasonerParams.model_validate(tiny_params()["reasoner"])


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> Reasoner:
    """A reasoner with random weights: nothing it says is right, all of it must be well-formed."""
    folder = tmp_path_factory.mktemp("reasoner")
    models.save(folder, *models.build(CONFIG, ["sky", "tree"]))
    return Reasoner(folder)


def test_patches_are_those_of_the_official_image_processor(photos):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(
        patch_size=16, temporal_patch_size=2, merge_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_resize=False
    )
    theirs = torch.as_tensor(np.asarray(processor(images=[photos[0]])["pixel_values"]), dtype=torch.float32)
    ours = pictures.patchify(pictures.to_tensor(photos[0])[None])[0]
    assert ours.shape == theirs.shape
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_views_stand_on_the_codec_grid_and_fit_any_photo():
    for height, width in ((1, 1), (96, 96), (100, 2000), (3000, 4000)):
        corners = pictures.view_corners(max(96, height), max(96, width), 96, 5)
        assert 1 <= len(corners) <= 5 and len(set(corners)) == len(corners)
        for top, left in corners:
            assert top % 16 == left % 16 == 0
            assert top + 96 <= max(96, height) and left + 96 <= max(96, width)


def test_levels_and_values_are_inverse():
    for severity in (1.0, 33.3, 100.0):
        assert answer.level_severity(answer.severity_level(severity)) == pytest.approx(severity)
    for (kind, name), (low, high, _) in answer.FACTOR_SCALES.items():
        value = low + 0.3 * (high - low)
        assert answer.level_factor(kind, name, answer.factor_level(kind, name, value)) == pytest.approx(value, rel=1e-6)


def test_rounding_is_unbiased_and_never_hides_a_finding(untrained):
    layout = untrained.layout
    diagnosis = Diagnosis(findings={"noise": Finding(severity=40)}, scene=SCENES[0], objects=["tree"])
    levels = torch.tensor(layout.levels(diagnosis))
    slot = layout.index["noise"]
    generator = torch.Generator().manual_seed(0)
    drawn = [int(answer.sequence(layout, levels, 0, generator)[1][slot]) for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx(answer.severity_level(40), abs=0.05)
    faint = Diagnosis(findings={"noise": Finding(severity=1)})
    drawn = [int(answer.sequence(layout, torch.tensor(layout.levels(faint)), 0, generator)[1][slot]) for _ in range(50)]
    assert min(drawn) >= 1


def test_later_blocks_see_only_what_is_decided(untrained):
    layout = untrained.layout
    levels = torch.tensor(layout.levels(Diagnosis(findings={"haze": Finding(severity=90)}, scene=SCENES[2])))
    for revealed in range(4):
        ids, _ = answer.sequence(layout, levels, revealed, torch.Generator().manual_seed(1))
        blank = ids[layout.positions] == layout.blank
        assert bool(blank[layout.blocks >= revealed].all())
        assert not bool(blank[layout.index["haze"]]) or revealed <= answer.FINDINGS


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (97, 300), (700, 500)])
def test_every_photo_gets_an_answer_that_parses(untrained, size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for photo in (noise, np.zeros_like(noise), np.full_like(noise, 255)):
        diagnosis = untrained.diagnose([photo])[0]
        assert Diagnosis.model_validate_json(diagnosis.to_json()).reasoning


def test_scores_do_not_depend_on_the_company(untrained, photos):
    together = untrained.score_severities(photos)
    assert together.shape == (len(photos), len(TYPES))
    assert float(together.min()) >= 0 and float(together.max()) <= 100
    alone = torch.cat([untrained.score_severities([photo]) for photo in photos])
    assert torch.allclose(together, alone, atol=1e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": "scratch:huge"}, "scratch:huge is unknown; allowed: scratch:tiny"),
        ({"base": "no/such/folder"}, "cannot load no/such/folder"),
        ({"tuning": "lora"}, "lora needs a trained base"),
    ],
)
def test_a_base_that_cannot_be_is_one_line(change, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(models.ReasonerError, match=message) as caught:
        models.build(CONFIG.model_copy(update=change), ["sky"])
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_reasoner_is_one_line(tmp_path):
    with pytest.raises(models.ReasonerError, match="not a reasoner"):
        models.load(tmp_path)


def test_lora_tunes_a_saved_base(untrained, tmp_path):
    base = tmp_path / "base"
    models.save(base, untrained.model, untrained.tokenizer, untrained.sight)
    tuned, tokenizer, sight = models.build(CONFIG.model_copy(update={"base": str(base), "tuning": "lora"}), ["sky"])
    trainable = sum(p.numel() for p in tuned.parameters() if p.requires_grad)
    assert 0 < trainable < sum(p.numel() for p in tuned.parameters())
    models.save(tmp_path / "merged", tuned, tokenizer, sight)
    Reasoner(tmp_path / "merged")
