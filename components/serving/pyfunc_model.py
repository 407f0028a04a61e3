"""The registered model as MLflow serves it: a photo in, the restored photo and its diagnosis out.

    mlflow models serve -m models:/reason-and-restore@champion --env-manager local

Logged as code, not as a pickle: MLflow runs this file when it loads the model, with `components` beside it.
Input: column `image`, bytes of a photo file or their base64 text. Parameters: `edits` (JSON object, type ->
severity) and `strength` (0..1). Output: `image` (base64 PNG of 8 bits), `diagnosis` (JSON with `before`, `after`, the
`strength` that was used and why it was `weakened`, or null), `kept` (why the photo came back unchanged, or empty).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

ARTIFACT = "models"


def photo_bytes(value: object) -> bytes:
    """Bytes of a photo file from a cell of column `image`. Raises ValueError."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        try:
            # a data URL, as web pages send it, carries the text behind its comma
            return base64.b64decode(value.rpartition(",")[2], validate=True)
        except binascii.Error:
            raise ValueError("column 'image': the text is not base64") from None
    raise ValueError(f"column 'image': expected bytes or base64 text, found {type(value).__name__}")


def parse_edits(text: str) -> dict[str, float]:
    """The parameter `edits`. Raises ValueError."""
    try:
        edits = json.loads(text or "{}")
    except ValueError:
        edits = None
    if not isinstance(edits, dict) or not all(type(v) in (int, float) for v in edits.values()):
        raise ValueError(f"parameter 'edits': expected a JSON object such as {{\"haze\": 0}}, found {text!r}")
    return {str(kind): float(severity) for kind, severity in edits.items()}


class ReasonAndRestore(PythonModel):
    """Both models of components.inference behind MLflow's interface."""

    def load_context(self, context) -> None:
        from components import inference

        device = os.environ.get("RNR_DEVICE", "cpu")
        self.models = inference.load(Path(context.artifacts[ARTIFACT]), device=device)

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        from components import storage
        from components.photos.decode import decode

        asked = params or {}
        edits, strength = parse_edits(asked.get("edits", "")), float(asked.get("strength", 1.0))
        rows = []
        for value in model_input["image"]:
            restored = self.models.restore(decode(photo_bytes(value)).pixels, edits or None, strength)
            diagnosis = {
                "before": restored.before.model_dump(),
                "after": restored.after.model_dump(),
                "strength": restored.strength,
                "weakened": restored.weakened,
            }
            rows.append(
                {
                    "image": base64.b64encode(storage.encode_png(restored.image)).decode("ascii"),
                    "diagnosis": json.dumps(diagnosis, sort_keys=True),
                    "kept": restored.kept or "",
                }
            )
        return pd.DataFrame(rows, columns=["image", "diagnosis", "kept"])


mlflow.models.set_model(ReasonAndRestore())
