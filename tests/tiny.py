"""A tiny pipeline for tests: the real stages and the real commands, on few small pictures."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent

PATCH = {
    # texture shrunk to 256 px measures as noise; whether the built-in photos are clean is tests/photos' question
    "ingest": {"longest_side_px": 256, "min_side_px": 96, "max_noise": 255},
    "synthesize": {
        "pair_size": 128,
        "train_pairs_per_photo": 1,
        "val_pairs_per_photo": 2,
        "test_pairs_per_photo": 3,
    },
    "reasoner": {
        "base": "scratch:tiny",
        "tuning": "full",
        "steps": 8,
        "batch_size": 4,
        "save_every": 2,
        "views": 1,
        "object_vocabulary": 6,
    },
    "restorer": {
        "base": "scratch",
        "learning_rate": 0.001,
        "widths": [16, 16, 16],
        "blocks": [1, 1, 1],
        "steps": 12,
        "batch_size": 2,
        "save_every": 4,
    },
    "refine": {
        "steps": 2,
        "photos_per_step": 2,
        "group_size": 4,
        "learning_rate": 0.0001,
        "candidates": 12,
        "guard_every": 1,
        "guard_pairs": 2,
        "save_every": 1,
    },
    "evaluate": {"ood_pairs": 2, "gallery_pairs": 1},
}


def tiny_params(**sections: dict) -> dict:
    """The repository's params.yaml, shrunk; keyword arguments patch single sections further."""
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    for patch in (PATCH, sections):
        for section, change in patch.items():
            values[section] |= change
    return values


def write_params(folder: Path, **sections: dict) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(tiny_params(**sections), sort_keys=False), encoding="utf-8")


@functools.cache
def empty_store() -> Path:
    """An MLflow database with its tables, made once a session: they take seconds to make and a moment to copy."""
    import mlflow

    place = Path(tempfile.mkdtemp()) / "mlflow.db"
    atexit.register(shutil.rmtree, place.parent)
    mlflow.MlflowClient(f"sqlite:///{place}").search_experiments()
    return place


def environment() -> dict[str, str]:
    """The caller's environment, with two threads unless it says how many, and this interpreter's commands first."""
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {"OMP_NUM_THREADS": "2", **os.environ, "PATH": paths, "PYTHONPATH": str(REPOSITORY)}


def processes(folder: Path, module: str) -> list[int]:
    """Process ids of `-m MODULE...` at work in this folder and no other."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
            if f"-m {module}".encode() in command and (entry / "cwd").resolve() == folder.resolve():
                found.append(int(entry.name))
        except OSError:  # the process ended while we looked
            continue
    return found


def with_priors(workspace: Path, folder: Path, **sections: dict) -> Path:
    """`folder`, a copy of a workspace without its models, with what the pretrained reasoner says of its pairs."""
    shutil.copytree(workspace, folder, symlinks=True, ignore=shutil.ignore_patterns("work", "models", "mlflow.db"))
    shutil.copy(empty_store(), folder / "mlflow.db")
    (folder / "models").mkdir()
    (folder / "models/reasoner").symlink_to(REPOSITORY / "pretrained/reasoner")
    write_params(folder, **sections)
    stage(folder, "components.reasoner.diagnose_pairs")
    return folder


def stage(folder: Path, module: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE` in a folder as dvc does; its output is captured."""
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise AssertionError(f"{module} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done
