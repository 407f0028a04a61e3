"""Stands in for components/inference.py inside a copied package: the negative of a photo, and a fixed diagnosis."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from components.diagnosis import Diagnosis


class Models:
    def restore(self, image, edits=None, strength=1.0):
        haze = {"haze": {"severity": (edits or {}).get("haze", 40.0)}}
        kept = "strength is 0" if strength == 0 else None
        return SimpleNamespace(
            image=image if kept else 255 - image,
            before=Diagnosis.model_validate({"findings": haze}),
            after=Diagnosis(),
            kept=kept,
            strength=strength,
            weakened=None,
        )


def load(folder, device="cpu"):
    for part in ("reasoner", "restorer"):
        assert (Path(folder) / part / "model.txt").read_text(encoding="utf-8") == part
    return Models()
