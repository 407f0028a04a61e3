"""What is no clean photo: real photos pass, degraded ones do not, and each measure measures what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from scipy import ndimage

from components import params
from components.degradations.recipe import apply_recipe, sample_recipe
from components.photos import ingest as stage
from components.photos import quality
from components.photos.config import IngestParams
from components.photos.decode import decode
from tests.photos.test_ingest import place
from tests.tiny import REPOSITORY

__all__ = ["place"]  # a fixture
BUILTIN = sorted((REPOSITORY / "data/photos").glob("*.jpg"))
WORDS = {"noise": "noisy", "blur": "blurred", "haze": "hazy", "jpeg": "over-compressed", "low_light": "dark"}


@pytest.fixture(scope="module")
def limits() -> IngestParams:
    return params.load("ingest", IngestParams, REPOSITORY / "params.yaml")


@pytest.fixture(scope="module")
def some() -> list[np.ndarray]:
    return [decode(path).pixels for path in BUILTIN[::11]]


def verdict(pixels: np.ndarray, limits: IngestParams) -> str:
    return quality.complaint(quality.measure(pixels, pixels), limits) or ""


@pytest.mark.parametrize("path", BUILTIN[::3], ids=lambda path: path.stem)
def test_built_in_photos_pass(path: Path, limits: IngestParams) -> None:
    assert verdict(decode(path).pixels, limits) == ""


@pytest.mark.parametrize("kind", WORDS)
def test_strongly_degraded_photos_are_left_out_for_the_right_reason(
    kind: str, some: list[np.ndarray], limits: IngestParams
) -> None:
    told = []
    for seed, pixels in enumerate(some):
        recipe = sample_recipe([kind], torch.Generator().manual_seed(seed), least=0.9)
        told.append(verdict(apply_recipe(pixels, recipe), limits))
    # blur along one direction of a photo that has its edges along the other may pass
    assert sum(WORDS[kind] in reason for reason in told) >= len(some) - (kind == "blur"), told


def test_noise_is_measured_in_levels(some: list[np.ndarray]) -> None:
    generator = np.random.default_rng(1)
    for sigma in (3.0, 10.0):
        noisy = 120 + generator.normal(0, sigma, (256, 256))
        assert quality.noise_level(noisy.astype(np.float32)) == pytest.approx(sigma, rel=0.15)
    # clipped blocks show no noise and are not asked
    assert quality.noise_level(np.full((64, 64), 255, np.float32)) == 0


def test_one_plane_in_focus_is_enough(some: list[np.ndarray], limits: IngestParams) -> None:
    photo = some[0]
    soft = ndimage.gaussian_filter(photo, (4, 4, 0))
    assert "blurred" in verdict(soft, limits)
    soft[:, photo.shape[1] // 2 :] = photo[:, photo.shape[1] // 2 :]
    assert "blurred" not in verdict(soft, limits)


def test_snow_under_a_white_sky_is_not_haze() -> None:
    snow = np.full((300, 400, 3), 225, np.uint8)
    snow[140:170] = 30  # a row of trees, a tenth of the picture
    assert quality.haze_level(snow) < 0.25
    assert quality.haze_level(np.maximum(snow, 150)) > 0.5


def test_the_grid_of_blocks_is_found_wherever_it_begins(tmp_path: Path, some: list[np.ndarray]) -> None:
    Image.fromarray(some[1]).save(tmp_path / "a.jpg", quality=10)
    blocky = decode(tmp_path / "a.jpg").pixels
    straight = quality.blockiness_level(blocky)
    assert straight > 0.4 > quality.blockiness_level(some[1])
    assert quality.blockiness_level(np.rot90(blocky)[3:, 5:]) == pytest.approx(straight, rel=0.15)


@pytest.mark.parametrize("size", [(16, 16), (20, 400)])
def test_any_size_can_be_measured(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert all(np.isfinite(value) for value in vars(quality.measure(pixels, pixels)).values())


def test_ingest_leaves_them_out_with_the_measured_value(place: Path, limits: IngestParams) -> None:
    (place / "photos").mkdir()
    for path in BUILTIN[:8:2]:
        (place / "photos" / path.name).write_bytes(path.read_bytes())
    with Image.open(BUILTIN[1]) as image:
        # shrunk by the ingest, its blocks would be gone
        image.save(place / "photos/squeezed.jpg", quality=8)
        Image.fromarray(np.asarray(image.convert("RGB")) // 5).save(place / "photos/underexposed.png")
    patched = limits.model_copy(update={"sources": ["photos"], "longest_side_px": 512, "max_noise": 255.0})
    assert stage.ingest(patched)["quarantined"] == 2
    left_out = pd.read_parquet("data/clean/quarantine.parquet").set_index("name")["reason"]
    assert left_out["squeezed.jpg"].startswith("over-compressed: blockiness ")
    assert left_out["squeezed.jpg"].endswith(", ingest.max_blockiness is 0.4")
    assert left_out["underexposed.png"].startswith("dark: highlight 0.1")


def test_the_command_prints_measurements_and_verdicts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    assert quality.main([str(BUILTIN[0])]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split("\t")[:3] == ["noise", "blur", "haze"]
    assert line.endswith(f"{BUILTIN[0]}\tclean")
    Path("broken.jpg").write_bytes(b"x")
    Image.new("RGB", (1, 1)).save("small.png")
    assert quality.main(["broken.jpg", "small.png"]) == 0
    told = capsys.readouterr().err
    assert "broken.jpg: not a photo" in told and "small.png: too small" in told
    assert quality.main(["nowhere"]) == 2
    Path("params.yaml").write_text(yaml.safe_dump({"ingest": {"sources": ["builtin"]}}))
    assert quality.main(["broken.jpg"]) == 2
    assert "ingest.longest_side_px: missing" in capsys.readouterr().err
