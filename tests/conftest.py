"""Shared fixtures: a workspace with real photos in which stages run as commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tiny import REPOSITORY, stage, write_params

PHOTOS = REPOSITORY / "data" / "photos"


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
