"""What must be right before hours are spent: every section of params.yaml, and room on the disk.

python -m flows.preflight
"""

from __future__ import annotations

import importlib
import shutil
import sys

from components import params

# section of params.yaml -> module and class that own it; imported only when asked. Light modules: with those of the
# stages the check took as long as all the rest of a run with nothing to do
SECTIONS = {
    "ingest": ("components.photos.config", "IngestParams"),
    "synthesize": ("components.synthesis.synthesize", "SynthesizeParams"),
    "annotate": ("components.annotation.config", "AnnotateParams"),
    "reasoner": ("components.reasoner.config", "ReasonerParams"),
    "restorer": ("components.restorer.config", "RestorerParams"),
    "refine": ("components.refinement.config", "RefineParams"),
    "evaluate": ("components.evaluation.config", "EvaluateParams"),
    "promotion": ("components.promotion.gate", "PromotionParams"),
    "flow": ("flows.stage", "FlowParams"),
}


def check_params(path: str = params.PARAMS_FILE) -> None:
    """Every section there, known and valid. Raises ParamsError naming the first that is not."""
    content = params.read_file(path)
    for name in content:
        if name not in SECTIONS:
            raise params.ParamsError(f"{path}: unknown section '{name}'; allowed: {', '.join(SECTIONS)}")
    for name, (module, model) in SECTIONS.items():
        params.load(name, getattr(importlib.import_module(module), model), path)


def check_disk(min_free_gb: float) -> None:
    """Raises OSError when the disk of the working directory has less than `min_free_gb` (10^9 bytes) left."""
    free = shutil.disk_usage(".").free / 1e9
    if free < min_free_gb:
        raise OSError(
            f"only {free:.1f} GB free on this disk, flow.min_free_disk_gb asks for {min_free_gb}; "
            "make room (`dvc gc --workspace` drops unused data)"
        )


if __name__ == "__main__":
    try:
        check_params()
    except params.ParamsError as error:
        sys.exit(str(error))
    print("params.yaml: every section is valid")
