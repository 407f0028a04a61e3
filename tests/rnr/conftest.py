"""A stand-in for the models: the tests of the command line need their words and pixels, not their quality."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rnr
from components.diagnosis import DegradationType, Diagnosis, Finding
from components.inference import Restored
from rnr import cli

BRIGHTER = 10
CURSED = (200, 0, 200)  # a photo of this colour breaks the model
UNSURE = (0, 200, 0)  # at full strength a photo of this colour shows more rain than before
CLEAN = (0, 0, 0)  # a photo of this colour (or nearly, after JPEG) has nothing wrong with it


class FakeModels:
    """Finds haze 60 and rain 20 in all but CLEAN photos; restoring makes them BRIGHTER and leaves haze 10.

    Photos of the colour UNSURE are restored at half the strength."""

    def diagnose(self, images: list[np.ndarray]) -> list[Diagnosis]:
        return [self.look(image) for image in images]

    def look(self, image: np.ndarray) -> Diagnosis:
        if (image == CURSED).all():
            raise RuntimeError("out of\nmemory")
        if (image <= 3).all():
            return Diagnosis(scene="night", reasoning=["Nothing is wrong."])
        haze, rain = Finding(severity=60, confidence=0.9), Finding(severity=20)
        findings: dict[DegradationType, Finding] = {"haze": haze, "rain": rain}
        return Diagnosis(scene="coast", objects=["sea"], reasoning=["It is foggy."], findings=findings)

    def restore(self, image: np.ndarray, edits: dict[str, float] | None = None, strength: float = 1.0) -> Restored:
        before = self.look(image).edited(edits or {})
        if before.is_clean:
            return Restored(image, before, before, "no degradation to remove", {"diagnose_s": 0.1}, 0.0)
        weakened = None
        if (image == UNSURE).all() and not edits:
            strength, weakened = strength / 2, "rain rose from 20 to 40 at strength 1"
        white = np.iinfo(image.dtype).max
        brighter = np.clip(image.astype(int) + round(BRIGHTER * strength * white / 255), 0, white).astype(image.dtype)
        after = Diagnosis(findings={"haze": Finding(severity=10)})
        return Restored(brighter, before, after, None, {"diagnose_s": 0.1, "restore_s": 0.2}, strength, weakened)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, str]]:
    """`rnr.load` gives FakeModels; the list collects what it was asked for."""
    asked: list[tuple[object, str]] = []

    def load(ref: object = None, device: str = "cpu", restores: bool = True) -> FakeModels:
        asked.append((ref, device))
        return FakeModels()

    monkeypatch.setattr(rnr, "load", load)
    return asked


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory without any model registry."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def photo() -> Callable[..., Path]:
    """Make a photo of one colour (60 wide, 40 high)."""

    def make(path: Path, colour: tuple[int, ...] = (100, 120, 140), **options: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), colour).save(path, **options)  # type: ignore[arg-type]
        return path

    return make


def run(*arguments: object) -> int:
    """Exit code of `rnr ARGUMENTS`, as the shell would see it."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as left:
        return int(left.code or 0)
