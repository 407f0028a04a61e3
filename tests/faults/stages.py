"""The stages as the campaign runs them: which outputs each has, in a folder of its own, compared with the truth."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from components import storage
from tests.tiny import REPOSITORY, empty_store, environment, write_params

# stage -> its module and what it writes; the order is that of dvc.yaml
STAGES = {
    "ingest": ("components.photos.ingest", ["data/clean", "data/ledger.csv", "metrics/ingest.json"]),
    "synthesize": ("components.synthesis.synthesize", ["data/pairs", "metrics/synthesize.json"]),
    "annotate": ("components.annotation.annotate", ["data/annotations", "metrics/annotate.json"]),
    "diagnose": ("components.reasoner.diagnose_pairs", ["data/priors", "metrics/diagnose.json"]),
    "train_restorer": ("components.restorer.train", ["models/restorer", "metrics/train_restorer.json"]),
    "refine": ("components.refinement.refine", ["models/restorer-refined", "metrics/refine.json"]),
    "evaluate": (
        "components.evaluation.evaluate",
        ["reports/per_image.parquet", "reports/gallery", "reports/metrics.json", "reports/plots"],
    ),
    "report": ("components.report.write", ["reports/index.html"]),
    "train_reasoner": ("components.reasoner.train", ["models/reasoner", "metrics/train_reasoner.json"]),
}
# trained once and committed: the stages after it need not wait for a training
REASONER = "models/reasoner"
PATIENCE_S = 600.0
PARAMS = {
    "ingest": {"photos_per_shard": 4},
    "synthesize": {"test_pairs_per_photo": 2},
    "restorer": {"steps": 8, "save_every": 2, "keep_checkpoints": 3},
    "reasoner": {"steps": 6},
    "refine": {"candidates": 8},
}


class Zygote:
    """The other end of zygote.py."""

    def __init__(self, *modules: str) -> None:
        quiet = {"OMP_NUM_THREADS": "1", "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false"}
        quiet |= {"MLFLOW_DISABLE_TELEMETRY": "true", "TOKENIZERS_PARALLELISM": "false"}
        argv = [sys.executable, "-W", "ignore", "-m", "tests.faults.zygote", *modules]
        self._process = subprocess.Popen(
            argv,
            cwd=REPOSITORY,
            env={**environment(), **quiet},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert json.loads(self._process.stdout.readline()) is True

    def ask(self, **order: object):
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


@dataclass
class Run:
    """A stage under way."""

    zygote: Zygote
    pid: int
    log: Path

    def wait(self, seconds: float = PATIENCE_S) -> int | None:
        """Its exit code, negative for a signal; None when it is still at work after `seconds`."""
        return self.zygote.ask(do="wait", pid=self.pid, seconds=seconds)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@dataclass
class Bench:
    """Where stages run: `truth` is a folder in which every stage ran undisturbed, `seconds` how long each took."""

    zygote: Zygote
    truth: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def start(
        self,
        stage: str,
        folder: Path,
        file_bytes: int = 0,
        jumps: list | None = None,
        log: Path | None = None,
        store: Path | None = None,
        variables: dict[str, str] | None = None,
    ) -> Run:
        """`log` and the `store` of the runs lie beside the folder if not told; `file_bytes`: no file may be larger;
        `jumps`: see zygote.jump; `variables` of the environment."""
        log = log or folder.with_name(f"{folder.name}.log")
        log.write_text("")
        store = store or folder.with_name(f"{folder.name}.db")
        if not store.exists():
            shutil.copy(empty_store(), store)
        order = {
            "environment": {"MLFLOW_TRACKING_URI": f"sqlite:///{store}", **(variables or {})},
            "jumps": jumps or [],
        }
        place = {"module": STAGES[stage][0], "folder": str(folder), "log": str(log), "file_bytes": file_bytes}
        return Run(self.zygote, self.zygote.ask(do="start", **order, **place), log)

    def finish(self, stage: str, folder: Path, **how) -> Run:
        """Run a stage to its end, which must be a good one."""
        run = self.start(stage, folder, **how)
        assert run.wait() == 0, run.said()[-3000:]
        return run

    def folder(self, stage: str, place: Path, own: tuple[str, ...] = ()) -> Path:
        """A folder in which only `stage` is left to do. Inputs are links to the truth, those of `own` are copies."""
        place.mkdir(exist_ok=True)
        for top in ("data", "models", "metrics", "reports"):
            (place / top).mkdir(exist_ok=True)
        shutil.copy(self.truth / "params.yaml", place)
        earlier = [REASONER] if stage not in ("ingest", "synthesize", "annotate", "train_reasoner") else []
        for name, (_, outs) in STAGES.items():
            if name == stage:
                break
            earlier += outs
        if stage == "train_reasoner":
            earlier = [out for name in ("ingest", "synthesize", "annotate") for out in STAGES[name][1]]
        for path in ["data/photos", *earlier]:
            if path in own:
                shutil.copytree(self.truth / path, place / path)
            elif not (place / path).exists():
                (place / path).symlink_to(self.truth / path)
        return place

    def outputs(self, stage: str, folder: Path) -> dict[str, dict[str, str] | str]:
        """Output -> its digests, for those that are there."""
        found: dict[str, dict[str, str] | str] = {}
        for out in STAGES[stage][1]:
            path = folder / out
            if path.is_dir():
                found[out] = storage.digests_of(path)
            elif path.exists():
                found[out] = storage._sha256(path)
        return found

    def written(self, stage: str) -> list[Path]:
        """The files of a stage in the undisturbed run."""
        tops = [self.truth / out for out in STAGES[stage][1]]
        return [path for top in tops for path in (top.rglob("*") if top.is_dir() else [top]) if path.is_file()]

    def assert_done(self, stage: str, folder: Path) -> None:
        """All outputs are those of the undisturbed run."""
        assert self.outputs(stage, folder) == self.outputs(stage, self.truth)

    def assert_nothing_half(self, stage: str, folder: Path) -> None:
        """An output is absent or as it is in the undisturbed run."""
        truth = self.outputs(stage, self.truth)
        for out, digest in self.outputs(stage, folder).items():
            assert digest == truth[out], f"{out} is half written"

    def assert_no_orphan(self, seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while left := self.zygote.ask(do="alive"):
            assert time.monotonic() < end, f"orphans: {left}"
            time.sleep(0.05)

    def forget(self, stage: str, folder: Path) -> None:
        """As before the first run: no output, no work."""
        for path in [*(folder / out for out in STAGES[stage][1]), folder / "work"]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def make_truth(zygote: Zygote, truth: Path) -> Bench:
    """Run every stage but the reasoner's training undisturbed, on a third of the photos."""
    bench = Bench(zygote, truth)
    (truth / "data/photos").mkdir(parents=True)
    (truth / "models").mkdir()
    for path in sorted((REPOSITORY / "data/photos").glob("*.jpg"))[::3]:
        (truth / "data/photos" / path.name).symlink_to(path)
    (truth / REASONER).symlink_to(REPOSITORY / "pretrained/reasoner")
    write_params(truth, **PARAMS)
    for stage in STAGES:
        if stage != "train_reasoner":
            began = time.monotonic()
            bench.finish(stage, truth)
            bench.seconds[stage] = time.monotonic() - began
    return bench


def kill(run: Run, everything: bool) -> int | None:
    """SIGKILL to the stage alone, as a full memory does, or to its whole session; its exit code."""
    if run.wait(0) is None:
        (os.killpg if everything else os.kill)(run.pid, 9)
    return run.wait(30)
