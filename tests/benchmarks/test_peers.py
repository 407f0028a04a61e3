"""The comparison of restorers: peers do what they are known for, settings are kept, figures reach the README."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import cases, contest, peers, report
from benchmarks.cases import Example, Truth
from components.degradations.recipe import apply_recipe, step_of
from components.degradations.severity import psnr
from tests.tiny import REPOSITORY

KNOWN_FOR = {
    "BM3D": "noise 25", "FFDNet": "noise 25", "NLM": "noise 25", "TV": "noise 25", "median filter": "noise 50",
    "dark channel": "haze", "gamma": "low light", "CLAHE": "low light", "Richardson-Lucy": "motion blur",
    "Wiener": "motion blur",
}  # fmt: skip
PEERS = {peer.name: peer for peer in peers.PEERS}


def made(case: str, photos: list[np.ndarray], count: int = 1) -> list[Example]:
    return cases.examples(case, [(f"{i:x}", photo[:128, :128]) for i, photo in enumerate(photos[:count])])


@pytest.mark.parametrize("name", list(KNOWN_FOR))
def test_a_peer_improves_what_it_is_known_for(name, photos):
    peer, example = PEERS[name], made(KNOWN_FOR[name], photos)[0]
    if peer.package:
        pytest.importorskip(peer.package)
    assert peer.suits(example.truth)
    before, picture = psnr(example.degraded, example.clean), example.degraded.copy()
    gains = [psnr(peer.run(picture, s, example.truth), example.clean) - before for s in peer.settings(example.truth)]
    assert max(gains) > 0.1
    assert np.array_equal(picture, example.degraded), "a peer must not change the picture it was given"


def test_unsharp_masking_sharpens_what_a_lens_softened(photos):
    clean = photos[0][:128, :128]
    soft = apply_recipe(clean, [step_of("blur", 1.0, 1, {"kind": "gaussian", "extent_px": 6.0, "angle_deg": 0.0})])
    assert psnr(peers.unsharp(soft, (1.0,), Truth(("blur",), None, None)), clean) > psnr(soft, clean) + 0.1


def test_the_dark_channel_undoes_even_haze():
    """J t + A (1 - t) with one t, of a picture in which every patch has something dark."""
    draw = np.random.default_rng(0)
    scene = np.repeat(np.repeat(draw.random((32, 32, 3)) ** 3, 4, 0), 4, 1)
    air = 0.9
    scene[:24, :24] = air  # a sky, larger than a patch
    hazy = ((scene * 0.4 + air * 0.6) * 255).round().astype(np.uint8)
    clear = peers.dark_channel(hazy, (1.0, 15), Truth(("haze",), None, None)) / 255
    assert np.abs(clear - scene).mean() < 0.02 < np.abs(hazy / 255 - scene).mean()


def test_a_case_is_the_same_every_time_and_its_grain_is_the_photos_own(photos):
    twice = [cases.examples("noise 25", [(photo, photos[0])])[0].degraded for photo in ("a", "a", "b")]
    assert np.array_equal(twice[0], twice[1]) and not np.array_equal(twice[0], twice[2])
    assert 23 < np.std(twice[0].astype(float) - twice[2]) / 2**0.5 < 26


def test_every_case_has_peers_and_what_an_oracle_knows(photos):
    for case in cases.CASES:
        truth = made(case, photos)[0].truth
        assert any(peer.suits(truth) and not peer.package for peer in peers.PEERS), case
        assert (truth.sigma is not None) == ("noise" in truth.types)
        assert (truth.kernel is not None) == ("blur" in truth.types)


def test_a_missing_package_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    with pytest.raises(cases.MissingPackage, match=r"bm3d: not installed .*pip install bm3d==4\.0\.3") as caught:
        peers.chosen(["NLM", "BM3D"])
    assert "\n" not in str(caught.value)
    found, left_out = peers.chosen(None)
    assert "BM3D" not in {peer.name for peer in found} and any("bm3d" in line for line in left_out)
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    cases.third_party.cache_clear()
    with pytest.raises(cases.MissingPackage, match="imagecorruptions: not installed"):
        cases.examples("imagecorruptions fog", [("a", np.zeros((64, 64, 3), np.uint8))])
    with pytest.raises(ValueError, match="'GIMP' is none of BM3D, FFDNet"):
        peers.chosen(["GIMP"])


@pytest.fixture
def outcomes(photos, tmp_path) -> list[contest.Outcome]:
    """A mixture and a single degradation on two photos, where ours gives the clean picture."""
    rivals = [PEERS["median filter"], PEERS["gamma"], PEERS["CLAHE"]]
    journal = contest.Journal(tmp_path / "peers.jsonl")
    found = []
    for case in ("low light", "low light + noise"):
        val, test = made(case, photos, 1), made(case, photos, 2)
        system = {contest.OURS: lambda example: example.clean, contest.TRUE: lambda example: None}
        found.append(contest.hold(val, test, rivals, system, 1, journal))
    return found


def test_scores_are_kept_and_a_chain_of_two_takes_part_in_mixtures(outcomes, photos, tmp_path):
    single, mixture = outcomes
    assert set(single.chains) == {"gamma", "CLAHE"}
    assert any(", then " in name for name in mixture.chains) and len(mixture.chains) == 2
    path = tmp_path / "peers.jsonl"
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"torn')

    def refuse(*_):
        raise AssertionError("measured again")

    rivals = [replace(PEERS[name], run=refuse) for name in ("gamma", "CLAHE")]
    val, test = made("low light", photos, 1), made("low light", photos, 2)
    again = contest.hold(val, test, rivals, {}, 1, contest.Journal(path))
    for method in again.chains:
        first, second = (rows[rows["method"] == method] for rows in (single.rows, again.rows))
        assert first["psnr"].tolist() == second["psnr"].tolist()
    # another photo is another question, and the torn line does not spoil the next one
    contest.hold(val, made("low light", photos, 3), [PEERS["gamma"]], {}, 1, contest.Journal(path))
    assert len(contest.Journal(path).answers) == len(path.read_text().splitlines()) - 1


def test_the_report_and_its_pictures(outcomes, tmp_path, monkeypatch):
    told = report.build(outcomes, [], val_photos=1, threads=1)
    ours = report.by_case(told)["low light"][contest.OURS]
    assert ours["psnr"] == 60 and ours["lead"] == 0 and ours["seconds_per_megapixel"] > 0
    best = report.best_peer(report.by_case(told)["low light"])
    assert best["lead_low"] <= best["lead"] <= best["lead_high"] and best["lead"] == pytest.approx(60 - best["psnr"])
    (tmp_path / "README.md").write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    monkeypatch.setattr(report, "DOCS", tmp_path / "docs")
    report.publish(told, outcomes, lambda example: example.clean)
    text = (tmp_path / "README.md").read_text()
    head, _, rest = text.partition(report.BEGIN)
    block, _, tail = rest.partition(report.END)
    assert head == "before\n" and tail == "\nafter\n" and "old" not in block
    assert "| low light | " in block and "60.00 / 1.000" in block and "| low light + noise | " in block
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {"peers.json", "peers.png", "peers-examples.png"}
    stored = json.loads((tmp_path / "docs/peers.json").read_text())
    assert report.with_table(text, stored) == text
    with pytest.raises(ValueError, match="markers"):
        report.with_table("no markers", told)


def test_the_readme_shows_the_committed_figures():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert report.BEGIN in text and report.END in text
    stored = REPOSITORY / "docs" / report.FIGURES
    if stored.is_file():
        told = json.loads(stored.read_text(encoding="utf-8"))
        assert report.with_table(text, told) == text, "run python -m benchmarks.report"
