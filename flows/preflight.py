"""What must be right before hours are spent: every section of params.yaml, and room on the disk.

python -m flows.preflight
"""

from __future__ import annotations

import hashlib
import importlib
import shutil
import sys
from pathlib import Path

from components import params, storage

# section of params.yaml -> module and class that own it; imported only when asked
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


# the digest of what was last found valid; may be deleted at any time
FOUND_VALID = Path("work/params-valid")


def check_params(path: str = params.PARAMS_FILE) -> None:
    """Every section there, known and valid. Raises ParamsError naming the first that is not.

    The same file under the same code is not checked again: one of the classes comes with torch, which takes as long as
    all the rest of a run with nothing to do.
    """
    state = _state(path)
    if state and FOUND_VALID.exists() and FOUND_VALID.read_text(encoding="utf-8") == state:
        return
    _check_sections(path)
    if state:
        with storage.whole_file(FOUND_VALID) as part:
            part.write_text(state, encoding="utf-8")


def _state(path: str) -> str | None:
    """A digest of the file and of all our code; None for another file than that of the working directory."""
    if path != params.PARAMS_FILE or not Path(path).exists():
        return None
    code = [file for top in (params.__file__, __file__) for file in sorted(Path(top).parent.rglob("*.py"))]
    digest = hashlib.sha256()
    for file in [Path(path), *code]:
        digest.update(file.as_posix().encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _check_sections(path: str) -> None:
    content = params.read_file(path)
    for name in content:
        if name not in SECTIONS:
            raise params.ParamsError(f"{path}: unknown section '{name}'; allowed: {', '.join(SECTIONS)}")
    for name, (module, model) in SECTIONS.items():
        if name not in content:
            raise params.ParamsError(f"{path}: section '{name}' is missing; found: {', '.join(sorted(content))}")
        # from what was read once: to parse the file for each of them took longer than all checks
        params.parse(name, content[name], getattr(importlib.import_module(module), model), path)


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
