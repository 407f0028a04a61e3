"""What is refined on: hard pictures of each case, chains that evaluation never makes, photos without clean sides."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from components.evaluation import strange
from components.refinement import pictures
from components.restorer.conditioning import CONDITION
from tests.conftest import PHOTOS


class Reader:
    """Finds noise in every picture whose red is not 0."""

    def read(self, images):
        class Reading:
            embedding = torch.zeros(len(images), 4)

        self.images = images
        return Reading()

    def diagnoses(self, reading):
        from components.diagnosis import Diagnosis, Finding

        return [Diagnosis(findings={"noise": Finding(severity=40)} if image[..., 0].any() else {})
                for image in self.images]  # fmt: skip


def some(cases: list[str]) -> pictures.Pictures:
    images = [np.full((16, 16, 3), i, np.uint8) for i in range(len(cases))]
    return pictures.Pictures(
        cases, images, list(images), torch.zeros(len(cases), CONDITION), torch.zeros(len(cases), 4)
    )


def test_the_hardest_of_each_case_are_taken():
    cases = ["jpeg"] * 4 + ["mixture3"] * 4 + ["rain"]
    left = torch.tensor([0.0, 2, 1, -1, 88, 89, 86, 87, 5])
    assert pictures.hardest(some(cases), left, 0.5) == [1, 2, 4, 5, 8]
    assert pictures.hardest(some(cases), left, 0.01) == [1, 5, 8]


def test_chains_are_reproducible_and_never_those_of_the_evaluation(photos, monkeypatch):
    made = []
    apply = pictures.recipes.apply_recipe
    monkeypatch.setattr(pictures.recipes, "apply_recipe", lambda clean, recipe: made.append(recipe) or clean)
    for seed in range(300):
        pictures.degrade_anew(photos[0], torch.Generator().manual_seed(seed))
    shapes = {tuple(step["type"] for step in recipe) for recipe in made}
    assert strange.OOD_TYPES not in shapes and len(shapes) > 60
    assert "imagecorruptions" not in pictures.PROTOCOLS and "realesrgan" not in pictures.PROTOCOLS
    monkeypatch.setattr(pictures.recipes, "apply_recipe", apply)
    once, again = (pictures.degrade_anew(photos[0], torch.Generator().manual_seed(3)) for _ in range(2))
    assert np.array_equal(once, again) and not np.array_equal(once, photos[0])


def test_photos_of_a_folder_and_what_is_left_out(tmp_path, capsys):
    for path in sorted(PHOTOS.glob("*.jpg"))[:2]:
        shutil.copy(path, tmp_path)
    (tmp_path / "torn.jpg").write_bytes(sorted(PHOTOS.glob("*.jpg"))[0].read_bytes()[:900])
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (40, 40)).save(tmp_path / "small.png")
    found = pictures.from_folder(Reader(), tmp_path, 96, 5, seed=1)
    assert len(found) == 5 and found.clean == [None] * 5 and set(found.cases) == {"photo"}
    assert {picture.shape for picture in found.degraded} == {(96, 96, 3)}
    told = capsys.readouterr().err
    assert told.count("refine: left out: ") == 3
    assert all(name in told for name in ("torn.jpg", "text.png", "small.png: smaller than 96 px"))
    # the degraded picture stands in for the clean side, which nothing may compare with
    assert torch.equal(found.clean_sides(), pictures.as_batch(found.degraded))
    again = pictures.from_folder(Reader(), tmp_path, 96, 5, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(found.degraded, again.degraded, strict=True))


@pytest.mark.parametrize("content", ["nothing", "missing", "unreadable"])
def test_a_folder_without_photos_is_one_line(tmp_path, content):
    folder = tmp_path / "photos"
    if content != "missing":
        folder.mkdir()
    if content == "unreadable":
        (folder / "text.png").write_text("no picture")
    with pytest.raises(FileNotFoundError, match=r"^refine.photos: .*photos[^\n]*$"):
        pictures.from_folder(Reader(), folder, 96, 5, seed=1)


def test_what_the_reasoner_calls_clean_is_left_alone():
    dark = np.zeros((96, 96, 3), np.uint8)
    found = pictures.read(Reader(), ["a", "b"], [dark, dark + 9], [dark, dark]).found()
    assert found.cases == ["b"]
