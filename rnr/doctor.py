"""`rnr doctor`: is this machine ready, are the servers there, are the parameters right, where does the pipeline stand.

One line a check, with what mends it. Exit code 1 when a check fails; warnings do not count.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from components import params, tracking
from components.tracking.store import TELEMETRY
from rnr import checks, console, doctor_services, lock
from rnr.checks import FAIL, OK, WARN, Check

OLDEST_PYTHON = (3, 11)
PACKAGES = ("torch", "transformers", "deepspeed", "mlflow", "prefect", "dvc")
LEAST_MEMORY_GB, LEAST_DISK_GB = 4.0, 3.0
SHOWN = 5


def python() -> Iterator[Check]:
    right = sys.version_info >= OLDEST_PYTHON
    remedy = "" if right else "install Python 3.11 and run `make clean setup PYTHON=python3.11`"
    yield Check("python", OK if right else FAIL, platform.python_version(), remedy)


def packages() -> Iterator[Check]:
    for name in PACKAGES:
        try:
            yield Check(name, OK, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, FAIL, "not installed", "run `make setup`")
    pinned = lock.pins()
    wrong = list(lock.differences(pinned, lock.installed()))
    told = "; ".join(wrong[:SHOWN]) + (f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else "")
    yield Check("lock", FAIL if wrong else OK, told or f"all {len(pinned)} pins", "run `make setup`" if wrong else "")


def machine() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check(
        "cores", OK if cores >= 2 else WARN, f"{cores}", "" if cores >= 2 else "two or more train in half the time"
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    enough = memory >= LEAST_MEMORY_GB
    remedy = (
        "" if enough else f"{LEAST_MEMORY_GB:g} GB are needed; set reasoner.batch_size and restorer.batch_size lower"
    )
    yield Check("memory", OK if enough else WARN, f"{memory:.1f} GB", remedy)
    free = shutil.disk_usage(".").free / 1e9
    told = f"{free:.1f} GB free, {LEAST_DISK_GB:g} GB needed"
    remedy = "" if free >= LEAST_DISK_GB else "`dvc gc --workspace` drops data that nothing uses"
    yield Check("disk", OK if free >= LEAST_DISK_GB else FAIL, told, remedy)


def gpu() -> Iterator[Check]:
    """By the driver's own tool; only where it finds one is PyTorch asked, which takes its seconds."""
    tool = shutil.which("nvidia-smi")
    argv = [tool or "", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        run = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False) if tool else None
    except (OSError, subprocess.TimeoutExpired):
        run = None
    if tool is None:
        yield Check("gpu", OK, "none: all runs on the processor")
        return
    if run is None or run.returncode:
        yield Check(
            "gpu", WARN, "nvidia-smi finds no working GPU", "install or restart NVIDIA's driver, or go on without"
        )
        return
    import torch

    named = "; ".join(run.stdout.strip().splitlines())
    usable = torch.cuda.is_available()
    remedy = "" if usable else f"PyTorch is built for CUDA {torch.version.cuda}: raise the driver to match"
    yield Check("gpu", OK if usable else WARN, named if usable else f"{named}, but PyTorch cannot use it", remedy)


def compiler() -> Iterator[Check]:
    """DeepSpeed compiles its communication extension at the first training."""
    for tool, remedy in (
        ("g++", "install a C++ compiler (Debian: apt-get install g++)"),
        ("ninja", "run `make setup`"),
    ):
        beside_python = Path(sys.executable).parent / tool
        place = str(beside_python) if beside_python.exists() else shutil.which(tool)
        told = "found" if place else "not found: DeepSpeed compiles with it"
        yield Check(tool, OK if place else FAIL, told, "" if place else remedy)


def telemetry() -> Iterator[Check]:
    loud = [name for name, off in TELEMETRY.items() if os.environ.get(name, "").lower() != off]
    told, remedy = f"not off: {', '.join(loud)}", "unset these variables: they are then off"
    yield Check("telemetry", WARN, told, remedy) if loud else Check("telemetry", OK, "off")


def parameters() -> Iterator[Check]:
    from flows import preflight

    try:
        preflight.check_params()
    except params.ParamsError as error:
        yield Check("params.yaml", FAIL, console.one_line(error), "mend the line, or `git checkout params.yaml`")
        return
    yield Check("params.yaml", OK, "every section is valid")


def pipeline() -> Iterator[Check]:
    """What `dvc repro` would compute."""
    if not Path("dvc.yaml").exists():
        yield Check("pipeline", FAIL, "no dvc.yaml here", "run from the top of the repository")
        return
    from flows import dvc_graph

    try:
        changed = dvc_graph.status()
    except dvc_graph.GraphError as error:
        yield Check("pipeline", FAIL, console.one_line(error), "mend dvc.yaml; `python -m flows.dvc_graph` reads it")
        return
    if changed:
        yield Check("pipeline", WARN, f"to be computed: {', '.join(changed)}", "`rnr run` does it")
    else:
        yield Check("pipeline", OK, "every stage is up to date")


def champion() -> Iterator[Check]:
    try:
        tracking.fetch_model(tracking.CHAMPION)
    except tracking.NoSuchModel as error:
        yield Check("champion", WARN, console.one_line(error), "until then pretrained/ is used")
    except tracking.TrackingError as error:
        yield Check("champion", FAIL, console.one_line(error), "see the line of mlflow")
    else:
        yield Check("champion", OK, tracking.CHAMPION)


def examine() -> Iterator[Check]:
    """All checks, the cheap ones first. The champion is not looked for on a server that does not answer."""
    for check in (python, packages, machine, gpu, compiler, telemetry, doctor_services.postgres):
        yield from checks.survive(check.__name__, check)
    mlflow = list(checks.survive("mlflow", doctor_services.mlflow))
    yield from mlflow
    for check in (doctor_services.prefect, doctor_services.remotes, parameters, pipeline):
        yield from checks.survive(check.__name__, check)
    if not any(one.state == FAIL for one in mlflow):
        yield from checks.survive("champion", champion)


def command(args: argparse.Namespace) -> int:
    """`rnr doctor`."""
    tracking.telemetry_off()
    return checks.report(examine(), args.json)
