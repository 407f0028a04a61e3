"""Shared fixtures: a workspace with real photos in which stages run as commands."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from components.photos.decode import decode
from components.photos.identity import photo_id
from tests.browser import CHROMIUM, REQUIRED, start
from tests.tiny import REPOSITORY, stage, write_params

PHOTOS = REPOSITORY / "data" / "photos"


# by these the suite lasts: begun first, they leave no core without work at the end (make test, a file to a core)
LONGEST = (
    "tests/test_pipeline.py",
    "tests/reasoner/test_world_sizes.py",
    "tests/reasoner/test_training.py",
    "tests/reasoner/test_bases.py",
    "tests/annotation/test_openai.py",
    "tests/flows/test_retrain.py",
    "tests/synthesis/test_synthesize.py",
    "tests/restorer/test_training.py",
    "tests/report/test_page.py",
    "tests/rnr/test_looks.py",
    "tests/reasoner/test_pretrain.py",
    "tests/restorer/test_pretrained.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {str(REPOSITORY / name): number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(str(item.path), len(place)))


@pytest.fixture(autouse=True)
def store_of_the_caller() -> Iterator[None]:
    """MLflow writes the store it was told of into the environment too, which every stage of a later test would get."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if before is not None:
        os.environ["MLFLOW_TRACKING_URI"] = before


@pytest.fixture(scope="session")
def photos() -> list[np.ndarray]:
    """Six real photos as (192, 192, 3) uint8, the centre of each."""
    found = []
    for path in sorted(PHOTOS.glob("*.jpg"))[::9][:6]:
        with Image.open(path) as image:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            square = image.convert("RGB").crop((left, top, left + side, top + side))
            found.append(np.asarray(square.resize((192, 192), Image.Resampling.LANCZOS)))
    return found


def unseen_photos(side: int) -> list[np.ndarray]:
    """The test photos of the ledger, squares shrunk to `side` px: no training of ours has seen them."""
    with open(REPOSITORY / "data/ledger.csv", encoding="utf-8") as file:
        test = {row["photo_id"] for row in csv.DictReader(file) if row["split"] == "test"}
    found = []
    for path in sorted(PHOTOS.glob("*.jpg")):
        pixels = decode(path).pixels
        if photo_id(pixels) in test:
            edge = min(pixels.shape[:2])
            square = Image.fromarray(pixels[:edge, :edge]).resize((side, side), Image.Resampling.LANCZOS)
            found.append(np.asarray(square))
    assert len(found) == len(test)
    return found


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny params, and clean photos, pairs and annotations made by the real stages."""
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "data").mkdir()
    (folder / "data" / "photos").symlink_to(PHOTOS)
    write_params(folder)
    for module in (
        "components.photos.ingest",
        "components.synthesis.synthesize",
        "components.annotation.annotate",
    ):
        stage(folder, module)
    return folder


# not of the session: Playwright's loop would be in the way of every test that runs one of its own
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        told = "no chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{told}, and {REQUIRED} is set: the page must be looked at")
        pytest.skip(told)
    with sync_playwright() as playwright:
        started = start(playwright)
        yield started
        started.close()
