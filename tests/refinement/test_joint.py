"""The joint mode: what a reasoner is rewarded for, what moves, when it is kept, and where it goes."""

from __future__ import annotations

import json

import pytest
import torch

from components import params
from components.diagnosis import TYPES
from components.reasoner import data
from components.reasoner.reader import Reasoner
from components.refinement import joint
from components.restorer import network
from tests.refinement.test_refine import LENIENT, MODULE, copy_of
from tests.tiny import REPOSITORY, stage, write_params

PRETRAINED = REPOSITORY / "pretrained/reasoner"


def test_what_an_answer_is_worth(config):
    config = config.model_copy(update={"joint_weight_types": 1.0, "joint_weight_severity": 2.0})
    truth = torch.zeros(1, len(TYPES), dtype=torch.long)
    truth[0, 1] = 9

    def worth(said: dict[int, dict[int, float]]) -> float:
        told = torch.zeros(1, len(TYPES), 10)
        for kind in range(len(TYPES)):
            for digit, share in said.get(kind, {9 * (kind == 1): 1.0}).items():
                told[0, kind, digit] = share
        return float(joint.rewards(config, told, truth)[0])

    # all is right: one for each type
    assert worth({}) == pytest.approx(7)
    # the one that is there is missed, or half missed: its type and its severity of 100
    assert worth({1: {0: 1.0}}) == pytest.approx(6 - 2.0)
    assert worth({1: {0: 0.5, 9: 0.5}}) == pytest.approx(6.5 - 1.0)
    # one is made up, of severity 1 and of 100
    assert worth({0: {1: 1.0}}) == pytest.approx(6 - 0.02)
    assert worth({0: {9: 1.0}}) == pytest.approx(6 - 2.0)
    # what is read is the expectation: to be unsure on both sides of the truth costs nothing
    truth[0, 1] = 5
    assert worth({1: {5: 1.0}}) == pytest.approx(worth({1: {4: 0.5, 6: 0.5}}))


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        ((0.90, 8.0, 0.99), False),
        ((0.91, 8.0, 0.99), True),
        ((0.90, 7.9, 0.99), True),
        ((0.92, 8.1, 0.99), False),
        ((0.92, 7.0, 0.98), False),
        ((float("nan"), 7.0, 0.99), False),
    ],
)
def test_kept_where_one_score_rises_and_none_falls(after, kept):
    names = ("macro_f1", "severity_mae", "clean_pass")
    before = dict(zip(names, (0.90, 8.0, 0.99), strict=True))
    assert joint.rose(before, dict(zip(names, after, strict=True))) is kept


@pytest.fixture(scope="module")
def lessons(readied) -> data.Annotated:
    pictures, diagnoses = data.load_split("train", str(readied / "data/pairs"), str(readied / "data/annotations"))
    return data.Annotated(pictures, diagnoses, 1)


def test_steps_raise_the_expected_reward_and_move_only_what_is_added(config, lessons):
    config = config.model_copy(update={"joint_steps": 1, "joint_rate": 0.001, "joint_kl": 0.01})
    speaking = joint.Speaking(config, PRETRAINED, 3)
    # what learns lies beside the weights; what the reasoner would have said is asked with it switched off
    kept = {name: weight.clone() for name, weight in speaking.model.named_parameters() if "lora" not in name}
    assert all(("lora" in name) == weight.requires_grad for name, weight in speaking.model.named_parameters())
    samples = data.Samples(lessons, None, 0.0, speaking.layout, speaking.sight, 8, 3)
    batch = next(iter(torch.utils.data.DataLoader(samples, batch_size=8)))
    told = [speaking.step(batch) for _ in range(6)]
    assert told[0]["joint_kl"] == pytest.approx(0.0, abs=1e-5)
    assert told[-1]["joint_reward"] > told[0]["joint_reward"] + 0.01
    assert told[-1]["joint_kl"] > 1e-4
    assert all(weight.equal(kept[name]) for name, weight in speaking.model.named_parameters() if name in kept)


def test_a_tether_holds_it(config, lessons):
    far = []
    for weight in (0.0, 100.0):
        speaking = joint.Speaking(config.model_copy(update={"joint_rate": 0.001, "joint_kl": weight}), PRETRAINED, 3)
        samples = data.Samples(lessons, None, 0.0, speaking.layout, speaking.sight, 8, 3)
        batch = next(iter(torch.utils.data.DataLoader(samples, batch_size=8)))
        far.append([speaking.step(batch) for _ in range(5)][-1]["joint_kl"])
    assert far[1] < far[0] / 2


def test_pictures_are_those_that_cost_most_and_as_many_others(config, readied, monkeypatch):
    monkeypatch.chdir(readied)
    restorer, reasoner = network.load("models/restorer"), Reasoner(PRETRAINED)
    config = config.model_copy(update={"candidates": 4})
    first, again = (joint.costly(config, reasoner, restorer, 5) for _ in range(2))
    assert len(first.images) == len(first.diagnoses) == 4
    assert all((a == b).all() for a, b in zip(first.images, again.images, strict=True))
    assert first.diagnoses == again.diagnoses
    # with only one of twelve ever misjudged, that one leads
    told = []
    monkeypatch.setattr(joint.likeness, "psnr_db", lambda painted, clean: torch.tensor([_cost(told)]))
    one = joint.costly(config, reasoner, restorer, 5)
    made = joint.FreshPairs(5).make([7])[0]
    assert (one.images[0] == made.degraded).all()


def _cost(told: list[int]) -> float:
    """PSNR of the calls in turn: of each picture under the truth, then under the words; they differ for picture 7."""
    told.append(1)
    return 30.0 if len(told) == 2 * 7 + 1 else 20.0


def test_a_preset_that_fresh_pictures_cannot_have_is_one_line(config, readied, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, synthesize={"preset": "cdd11"})
    with pytest.raises(params.ParamsError, match=r"^refine\.joint_rounds: .*; use .* or set it to 0$"):
        joint.costly(config, None, None, 5)  # type: ignore[arg-type]


JOINT = {**LENIENT, "steps": 1, "joint_rounds": 1, "joint_steps": 2, "candidates": 8}


@pytest.mark.parametrize("rate", [1e-4, pytest.param(1.0, marks=pytest.mark.slow)])
def test_the_stage_delivers_the_reasoner_that_is_kept(readied, tmp_path, rate):
    folder = copy_of(readied, tmp_path)
    write_params(folder, refine={**JOINT, "joint_rate": rate})
    done = stage(folder, MODULE)
    assert "refine round 1, reasoner 2/2: joint_reward " in done.stdout
    kept = "refine round 1: reasoner kept: " in done.stdout
    assert kept or "refine round 1: reasoner refused: " in done.stdout
    inside = folder / "models/restorer-refined/reasoner"
    assert inside.is_dir() == (kept and "refine: accepted" in done.stdout)
    scores = json.loads(next((folder / "work/refine").glob("*/round-1/reasoner.json")).read_text(encoding="utf-8"))
    assert kept == joint.rose(scores["before"], scores["after"])
    if rate == 1.0:
        # steps a thousand times too long: whoever went wrong is not delivered
        assert not kept
    if inside.is_dir():
        assert (inside / "model.safetensors").read_bytes() != (PRETRAINED / "model.safetensors").read_bytes()
        assert Reasoner(inside).layout.template.equal(Reasoner(PRETRAINED).layout.template)
    if rate < 1:
        # a killed run's finished round is not run again, and the end is the same
        weights = (folder / "models/restorer-refined/model.safetensors").read_bytes()
        again = stage(folder, MODULE)
        assert "reasoner 1/2" not in again.stdout and "refine: resuming from step 1" in again.stdout
        assert (folder / "models/restorer-refined/model.safetensors").read_bytes() == weights
