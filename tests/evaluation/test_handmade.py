"""The reasoner's opponents: features that measure what they are named for, and trees that learn from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from components.diagnosis import TYPES
from components.evaluation import answers, boosting, handmade
from components.storage import parquet
from tests.evaluation.plain_pairs import compressed, noisy, write_pairs

BETTER, CERTAIN = 0.05, 0.8
NOISE, JPEG = TYPES.index("noise"), TYPES.index("jpeg")


def quiet(items, total, label):
    return items


def named(image: np.ndarray) -> dict[str, float]:
    return dict(zip(handmade.FEATURES, handmade.features(image).tolist(), strict=True))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, photos) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder, photos, train=32, others=24)
    return folder


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (5, 300), (192, 129)])
def test_any_picture_has_all_features(size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for picture in (noise, np.zeros_like(noise), np.full_like(noise, 255)):
        told = handmade.features(picture)
        assert told.shape == (len(handmade.FEATURES),) and np.isfinite(told).all()


def test_noise_is_measured_in_its_unit():
    flat = np.full((192, 192, 3), 128, np.uint8)
    told = named(noisy(flat, 20))
    # the mean of three channels has a third of their variance
    grey = 20 / 255 / 3**0.5
    assert told["noise_immerkaer"] == pytest.approx(grey, rel=0.05)
    assert told["noise_grey"] == pytest.approx(grey, rel=0.05)
    assert told["noise_red_green"] == pytest.approx(20 / 255 * 2**0.5, rel=0.05)
    assert named(flat)["noise_grey"] == 0


def test_features_follow_what_is_done_to_a_photo(photos):
    photo = photos[0]
    sharp = named(photo)
    soft = named(gaussian_filter(photo, (2, 2, 0)))
    assert soft["laplacian_variance"] < sharp["laplacian_variance"] - 0.5
    assert soft["gradient_half"] > sharp["gradient_half"]
    hazy = named((0.5 * photo + 0.5 * 220).astype(np.uint8))
    assert hazy["dark_median"] > sharp["dark_median"] + 0.3 and hazy["contrast"] < sharp["contrast"]
    dark = named((photo * 0.2).astype(np.uint8))
    assert dark["bright_high"] < 0.25 and dark["brightness"] == pytest.approx(0.2 * sharp["brightness"], abs=0.01)
    blocky = named(compressed(photo, 10))
    assert min(blocky["blockiness_columns"], blocky["blockiness_rows"]) > 0.5
    assert max(sharp["blockiness_columns"], sharp["blockiness_rows"]) < 0.2
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::4] = 255
    assert named(stripes)["gradient_coherence"] > 0.99 and named(stripes)["gradient_cosine"] > 0.99


@pytest.mark.parametrize("name", sorted(handmade.SETS))
def test_a_baseline_finds_what_is_obvious(pairs, name):
    sets = {name: handmade.SETS[name]}
    train, val, test = (boosting.read_tables(pairs, split, sets, quiet)[name] for split in ("train", "val", "test"))
    frame = parquet.read_split(pairs, "test", answers.TRUTH)
    opponent = boosting.Baseline(train, val)
    said = opponent.ask(test.degraded)
    figures, per_type = answers.figures(said, opponent.ask(test.clean), frame)
    # twenty-four pictures of one photo, noise partly hidden by compression: a bar that dice do not reach
    for kind in ("noise", "jpeg"):
        assert per_type[kind]["f1"] > per_type[kind]["prior_f1"] + BETTER
        assert per_type[kind]["auc"] > CERTAIN
    assert per_type["noise"]["severity_spearman"] > 0.5
    assert figures["clean_sides_passed"] > 0.6
    assert figures["parse_rate"] is None
    # what no training pair shows is never found
    assert not np.delete(said.found, [NOISE, JPEG], 1).any()
    again = boosting.Baseline(train, val).ask(test.degraded)
    assert np.array_equal(again.presence, said.presence) and np.array_equal(again.severity, said.severity)


def test_a_baseline_that_learns_nothing_is_no_better_than_the_prior(pairs):
    """The test above can fail: the same trees on features that say nothing."""
    generator = np.random.default_rng(3)
    train, val, test = (
        boosting.read_tables(pairs, split, {"dice": lambda image: generator.normal(size=5)}, quiet)["dice"]
        for split in ("train", "val", "test")
    )
    opponent = boosting.Baseline(train, val)
    frame = parquet.read_split(pairs, "test", answers.TRUTH)
    _, per_type = answers.figures(opponent.ask(test.degraded), opponent.ask(test.clean), frame)
    assert per_type["noise"]["f1"] < per_type["noise"]["prior_f1"] + BETTER
    assert per_type["noise"]["auc"] < CERTAIN


def test_the_threshold_is_that_of_the_best_f1_behind_the_gate():
    presence = np.array([0.9, 0.8, 0.6, 0.4, 0.3])
    here = np.array([True, True, False, True, False])
    everyone = np.ones(5, bool)
    # three found are 2 * 3 / (4 + 3)
    assert boosting.best_threshold(presence, everyone, here) == pytest.approx(0.35)
    # of two equal F1 the lowest threshold
    assert boosting.best_threshold(presence[:2], everyone[:2], here[:2]) == pytest.approx(0.4)
    # a wrong picture that the gate holds back does not count
    assert boosting.best_threshold(presence, np.array([1, 1, 0, 1, 1], bool), here) == pytest.approx(0.35)
    assert boosting.best_threshold(presence, everyone, np.zeros(5, bool)) == 0.5
    # pictures that look alike are found together
    assert boosting.best_threshold(
        np.array([0.7, 0.7, 0.1]), np.ones(3, bool), np.array([1, 0, 0], bool)
    ) == pytest.approx(0.4)


def test_intervals_are_over_photos(pairs):
    frame = parquet.read_split(pairs, "test", answers.TRUTH)
    truth = answers.severities(frame)
    right = answers.Answers((truth >= 1).astype(float), truth.clip(1), truth >= 1)
    nothing = answers.Answers(np.zeros_like(truth), truth, np.zeros(truth.shape, bool))
    double = {c: frame[c].tolist() * 2 for c in ("case", "severities")}
    two = frame.iloc[np.tile(np.arange(len(frame)), 2)].assign(**double)
    two["photo_id"] = ["a"] * len(frame) + ["b"] * len(frame)
    # photo a is read without a fault, photo b not at all: a draw holds both, or one of them twice
    said = answers.Answers(
        np.concatenate([right.presence, nothing.presence]),
        np.concatenate([right.severity, nothing.severity]),
        np.concatenate([right.found, nothing.found]),
    )
    between = answers.intervals(said, said, two, resamples=60)
    assert between["mixture_exact"] == (0.0, 1.0)
    assert between["clean_pass_rate"] == (1.0, 1.0)
    assert "parse_rate" not in between
