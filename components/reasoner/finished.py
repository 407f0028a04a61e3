"""The finished reasoner in the work folder of a training: where it lies, and whether it is whole.

Apart from the training, so that the launcher, which only asks for it, starts without the libraries of a training.
"""

from __future__ import annotations

from pathlib import Path

from components import storage
from components.reasoner import checkpoints

METRICS = "metrics.json"
# what decides about the thresholds: when it changes, the last checkpoint is calibrated again, not trained again
CALIBRATED_BY = (
    *("calibrate.py", "reader.py", "passes.py", "pictures.py", "answer.py"),
    *("gauges.py", "gauges.json", "measures.py", "fields.py", "streaks.py"),
)


def final(folder: Path) -> Path:
    """Where the trained and calibrated reasoner of a work folder lies."""
    code = [str(Path(__file__).with_name(name)) for name in CALIBRATED_BY]
    return folder / f"final-{storage.digest_inputs({}, code)}"


def is_final(folder: Path) -> bool:
    """Whether the finished reasoner of a work folder is there and as it was written; a damaged one counts as none."""
    done = final(folder)
    if not done.exists():
        return False
    reason = checkpoints.damage(done) if checkpoints.is_complete(done) else f"it has no {checkpoints.COMPLETE}"
    if reason or not (folder / METRICS).exists():
        print(f"{done}: damaged ({reason or 'no metrics'}); made again from the best checkpoint", flush=True)
        return False
    return True
