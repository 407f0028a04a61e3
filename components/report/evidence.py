"""What the report shows, read from the files that `evaluate` and the stages before it left."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components import params
from components.tracking import lineage

REPORTS, MODELS = Path("reports"), Path("models")
METRICS, TABLE, GALLERY = "metrics.json", "per_image.parquet", "gallery"
# what the figures rest on, in the order in which it is made
CHAIN = (
    "data/clean",
    "data/pairs",
    "data/annotations",
    "models/reasoner",
    "data/priors",
    "models/restorer",
    "models/restorer-refined",
    "reports/per_image.parquet",
    "reports/metrics.json",
)


class ReportError(ValueError):
    """The report cannot be made; the message is one line that names the file and the command that makes it."""


@dataclass(frozen=True)
class Case:
    """One pair of the gallery: what components/evaluation/gallery.py told of it, and its strip of three pictures."""

    told: dict
    strip: Path


@dataclass(frozen=True)
class Evidence:
    """`metrics`: reports/metrics.json; `table`: a row a pair; `gallery`: by group and rank; `params`: params.yaml;
    `digests`: output -> what dvc.lock calls it, or None; `sizes`: model folder -> (parameters, bytes)."""

    metrics: dict
    table: pd.DataFrame
    gallery: list[Case]
    params: dict
    digests: dict[str, str | None]
    sizes: dict[str, tuple[int, int]]

    def number(self, path: str) -> float | None:
        """The figure at a dotted path of the metrics, or None where there is none."""
        value: object = self.metrics
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return float(value) if isinstance(value, (int, float)) else None


def read() -> Evidence:
    """From the working directory. Raises ReportError when something is missing, ParamsError for params.yaml."""
    for path in (REPORTS / METRICS, REPORTS / TABLE, REPORTS / GALLERY):
        if not path.exists():
            raise ReportError(f"{path}: not found; run `dvc repro evaluate`")
    table = pd.read_parquet(REPORTS / TABLE)
    if "presence" not in table:
        raise ReportError(f"{REPORTS / TABLE}: made by an earlier version; run `dvc repro evaluate`")
    gallery = [_case(path) for path in sorted((REPORTS / GALLERY).glob("*.json"))]
    return Evidence(
        metrics=json.loads((REPORTS / METRICS).read_text(encoding="utf-8")),
        table=table,
        gallery=gallery,
        params=params.read_file(),
        digests={path: lineage.locked_digest(path) for path in CHAIN},
        sizes={path.name: _size(path) for path in sorted(MODELS.glob("*")) if path.is_dir()},
    )


def _case(path: Path) -> Case:
    return Case(json.loads(path.read_text(encoding="utf-8")), path.with_suffix(".png"))


def _size(folder: Path) -> tuple[int, int]:
    """Parameters and bytes of the weights in a model folder."""
    from safetensors import safe_open

    parameters, size = 0, 0
    for path in sorted(folder.rglob("*.safetensors")):
        size += path.stat().st_size
        with safe_open(path, framework="np") as file:
            parameters += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return parameters, size
