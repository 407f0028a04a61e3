"""Stage `train_reasoner`: fine-tune the reasoner under DeepSpeed, and calibrate it on validation photos.

    python -m components.reasoner.train

Launches `components.reasoner.worker` with torchrun (one machine) or DeepSpeed's launcher (a hostfile). Checkpoints
lie in work/reasoner/<inputs>/ and survive a crash; the finished reasoner is models/reasoner/. The number of processes
may change in between: the training goes on with the same samples at each step (on several machines, work/ must lie on
a file system that they share).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from components import lifeline, params, storage, tracking
from components.reasoner.checkpoints import COMPLETE
from components.reasoner.config import ReasonerParams, count_processes, samples_per_process
from components.reasoner.finished import METRICS, final, is_final
from components.reasoner.worker import STAGE_PID
from components.storage import parquet

OUT = Path("models/reasoner")
WORKER = "components.reasoner.worker"


def launch_argv(config: ReasonerParams, folder: Path) -> list[str]:
    """The command that trains: one or several processes here, or one per device of every host in a hostfile."""
    if config.hostfile:
        launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--hostfile", config.hostfile, "--module"]
        return [*launcher, WORKER, str(folder)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc_per_node", str(config.processes), "-m", WORKER, str(folder)]


def launch_environment(config: ReasonerParams) -> dict[str, str]:
    """The environment of the processes: this stage's threads shared out, this interpreter's tools (ninja) found."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(given) if given.isdigit() else os.cpu_count() or 1
    environment = {"TOKENIZERS_PARALLELISM": "false", **os.environ}
    environment["OMP_NUM_THREADS"] = str(max(1, threads // config.processes))
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    if not torch.cuda.is_available():
        environment["DS_ACCELERATOR"] = "cpu"
    if not config.hostfile:
        environment[STAGE_PID] = str(os.getpid())
    return environment


def learnt_from(config: ReasonerParams) -> tuple[dict, list[str]]:
    """The parameters and files that decide what the training gives; test photos are none of its business."""
    parameters, files = config.what_it_learns(), parquet.training_paths("data/pairs", "data/annotations")
    if config.fresh_share:
        parameters["synthesize"] = params.read_file().get("synthesize")
        files += [str(path) for path in parquet.paths("data/clean", "train")]
    if Path(config.base).is_dir():
        files.append(config.base)
    return parameters, files


def main() -> None:
    config = params.load("reasoner", ReasonerParams)
    samples_per_process(config, count_processes(config))
    folder = Path("work/reasoner") / storage.digest_inputs(*learnt_from(config))
    with storage.only_one(folder) as lock:
        if not is_final(folder):
            argv, environment = launch_argv(config, folder), launch_environment(config)
            run = subprocess.run(
                argv, env=environment, pass_fds=(lock,), preexec_fn=lifeline.die_with_parent, check=False
            )
            if run.returncode:
                raise SystemExit(
                    f"train_reasoner: training ended with exit code {run.returncode}; the lines above say why"
                )
        Path("metrics").mkdir(exist_ok=True)
        with storage.whole_folder(OUT) as part:
            shutil.copytree(final(folder), part, dirs_exist_ok=True, ignore=shutil.ignore_patterns(COMPLETE))
        shutil.copy(folder / METRICS, "metrics/train_reasoner.json")


if __name__ == "__main__":
    tracking.telemetry_off()
    try:
        main()
    except (params.ParamsError, OSError) as error:
        sys.exit(f"train_reasoner: {error}")
