"""Training goes on from the champion: its weights as a base that params.yaml names and DVC keeps.

    python -m flows.warm_start

The champion's models are copied to models/warm/<digest of their content>/ and given to DVC (models/warm/<digest>.dvc
is for git, the bytes for the cache and the remote), and `reasoner.base` and `restorer.base` of params.yaml are pointed
there. So the base is a parameter like any other: `dvc repro` alone reproduces the run, and MLflow logs where it began.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from components import params, params_edit, tracking
from flows import dvc_graph
from flows.dvc_graph import Stage

WARM = Path("models/warm")
# section of params.yaml -> the stage that trains from its `base`
TRAINED_BY = {"reasoner": "train_reasoner", "restorer": "train_restorer"}
# the champion's policy was learnt for its own weights; refinement measures its divergence from a policy of zeros
UNLEARNT = "policy."


class WarmStartError(RuntimeError):
    """The champion cannot be made the base; one line with the remedy."""


@dataclass(frozen=True)
class WarmStart:
    """Where training starts. `version`: the champion's number, None where params.yaml was left as it is; `why`: a
    sentence about that; `base`: section -> its base now."""

    version: str | None
    why: str
    base: dict[str, str]


def bases() -> dict[str, str]:
    """What params.yaml names now; without the sections that are not there."""
    content = params.read_file()
    return {name: str(content[name]["base"]) for name in TRAINED_BY if "base" in (content.get(name) or {})}


def trained_from() -> dict[str, str]:
    """The bases of the last finished trainings, as dvc.lock has them."""
    try:
        stages = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8")).get("stages", {})
    except (FileNotFoundError, AttributeError):
        return {}
    locked = {
        name: stages.get(stage, {}).get("params", {}).get(params.PARAMS_FILE, {}) for name, stage in TRAINED_BY.items()
    }
    return {name: str(found[name]["base"]) for name, found in locked.items() if "base" in (found.get(name) or {})}


def will_train(stages: list[Stage], changed: dict[str, str]) -> bool:
    """Whether a training, or anything that it needs, has changed. `stages` come in order."""
    reached = set(changed)
    for stage in stages:
        if stage.deps & reached:
            reached.add(stage.name)
    return bool(reached & set(TRAINED_BY.values()))


def from_champion(stages: list[Stage], changed: dict[str, str]) -> WarmStart:
    """Make the champion the base of what is about to be trained, if anything is.

    Left alone: a base that somebody changed by hand since the last training, and one whose network has another shape.
    Called again before the training ended it does the same again. Raises WarmStartError, TrackingError.
    """
    now, before = bases(), trained_from()
    if not will_train(stages, changed):
        return WarmStart(None, "nothing is to be trained", now)
    for name, base in now.items():
        if name in before and base != before[name] and not base.startswith(f"{WARM.as_posix()}/"):
            return WarmStart(None, f"{name}.base was set to {base} since the last training: training starts there", now)
    try:
        models = tracking.fetch_model(tracking.CHAMPION)
    except tracking.NoSuchModel:
        return WarmStart(None, "there is no champion yet: training starts from the base in params.yaml", now)
    if wrong := misfit(models / "restorer"):
        return WarmStart(None, f"the champion's {wrong}: training starts from the base in params.yaml", now)
    version = champion_version()
    folder = keep(models, version)
    wanted = {name: (folder / name).as_posix() for name in TRAINED_BY}
    if wanted != now:
        params_edit.change({f"{name}.base": base for name, base in wanted.items()})
    drop_others(folder)
    return WarmStart(version, f"training starts from the champion, version {version}", wanted)


def champion_version() -> str:
    """The number that @champion points at."""
    from components.promotion import versions

    return versions.aliases()[versions.CHAMPION]


def misfit(restorer: Path) -> str:
    """How the champion's network differs from the one that params.yaml asks for; empty where it does not."""
    config = json.loads((restorer / "config.json").read_text(encoding="utf-8"))
    asked = params.read_file()["restorer"]
    differing = [key for key in ("widths", "blocks") if list(config[key]) != list(asked[key])]
    return ", ".join(f"restorer has {key} {config[key]}, restorer.{key} is {asked[key]}" for key in differing)


def keep(models: Path, version: str) -> Path:
    """The champion's reasoner and restorer as models/warm/<digest>/, known to DVC. Raises WarmStartError."""
    WARM.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WARM, prefix=".") as part:
        place = Path(part) / "models"
        for name in TRAINED_BY:
            shutil.copytree(models / name, place / name)
        unlearn_policy(place / "restorer" / "model.safetensors")
        folder = WARM / content_digest(place)
        if not (folder.exists() and content_digest(folder) == folder.name):
            shutil.rmtree(folder, ignore_errors=True)
            place.rename(folder)
    pointer = folder.with_name(f"{folder.name}.dvc")
    if not pointer.exists():
        added = subprocess.run(
            [sys.executable, "-m", "dvc", "--wait-for-lock", "add", "-q", folder.as_posix()],
            capture_output=True,
            text=True,
            check=False,
        )
        if added.returncode:
            said = " ".join(added.stderr.split()) or "no message"
            raise WarmStartError(f"{folder}: DVC does not take the champion's weights: {said}")
        # DVC leaves this part of its file to us
        noted = yaml.safe_load(pointer.read_text(encoding="utf-8"))
        noted["meta"] = {"model": tracking.MODEL_NAME, "version": version}
        pointer.write_text(yaml.safe_dump(noted, sort_keys=False), encoding="utf-8")
    return folder


def unlearn_policy(weights: Path) -> None:
    """Zero the restorer's policy, as in a network that was never refined."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights)
    for name, tensor in tensors.items():
        if name.startswith(UNLEARNT):
            tensor.zero_()
    weights.unlink()
    save_file(tensors, weights)


def content_digest(folder: Path) -> str:
    """12 hex digits of the names and bytes below a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def pointers() -> list[Path]:
    """The files with which DVC knows a base."""
    return sorted(WARM.glob("*.dvc"))


def drop_others(folder: Path) -> None:
    """Earlier bases leave the working directory; git and DVC's cache still have them."""
    for pointer in pointers():
        if pointer.stem != folder.name:
            shutil.rmtree(pointer.with_suffix(""), ignore_errors=True)
            pointer.unlink()


def main() -> int:
    tracking.telemetry_off()
    try:
        started = from_champion(dvc_graph.stages(), dvc_graph.status())
    except (params.ParamsError, dvc_graph.GraphError, WarmStartError, tracking.TrackingError) as error:
        print(f"warm start: {error}", file=sys.stderr)
        return 1
    print(started.why)
    return 0


if __name__ == "__main__":
    sys.exit(main())
