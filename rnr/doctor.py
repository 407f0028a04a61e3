"""`rnr doctor`: is this machine ready, are the parameters right, where does the pipeline stand. One line a check."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from components import params, tracking
from components.tracking.store import TELEMETRY
from rnr import console

OLDEST_PYTHON = (3, 11)
PACKAGES = ("torch", "transformers", "deepspeed", "mlflow", "prefect", "dvc")
LEAST_MEMORY_GB, LEAST_DISK_GB = 4.0, 3.0


class Check(NamedTuple):
    """One line of the report; state is "ok", "warn" or "fail"."""

    name: str
    state: str
    told: str


def python() -> Check:
    right = sys.version_info >= OLDEST_PYTHON
    return Check("python", "ok" if right else "fail", platform.python_version() + ("" if right else "; 3.11 is needed"))


def packages() -> Iterator[Check]:
    for name in PACKAGES:
        try:
            yield Check(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "fail", "not installed; run `make setup`")


def machine() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check("cores", "ok" if cores >= 2 else "warn", f"{cores}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    yield Check("memory", "ok" if memory >= LEAST_MEMORY_GB else "warn", f"{memory:.1f} GB")
    free = shutil.disk_usage(".").free / 1e9
    yield Check("disk", "ok" if free >= LEAST_DISK_GB else "fail", f"{free:.1f} GB free, {LEAST_DISK_GB:g} GB needed")


def compiler() -> Iterator[Check]:
    """DeepSpeed compiles its communication extension at the first training."""
    for tool, remedy in (("g++", "install a C++ compiler (Debian: g++)"), ("ninja", "run `make setup`")):
        beside_python = Path(sys.executable).parent / tool
        place = str(beside_python) if beside_python.exists() else shutil.which(tool)
        yield Check(tool, "ok" if place else "fail", "found" if place else f"not found: DeepSpeed needs it; {remedy}")


def parameters() -> Check:
    from flows import preflight

    try:
        preflight.check_params()
    except params.ParamsError as error:
        return Check("params.yaml", "fail", console.one_line(error))
    return Check("params.yaml", "ok", "every section is valid")


def pipeline() -> Check:
    """What `dvc repro` would compute."""
    if not Path("dvc.yaml").exists():
        return Check("pipeline", "fail", "no dvc.yaml here; run from the top of the repository")
    from flows import dvc_graph

    try:
        changed = dvc_graph.status()
    except dvc_graph.GraphError as error:
        return Check("pipeline", "fail", console.one_line(error))
    if changed:
        return Check("pipeline", "warn", f"to be computed: {', '.join(changed)}; `rnr run` does it")
    return Check("pipeline", "ok", "every stage is up to date")


def champion() -> Check:
    try:
        tracking.fetch_model(tracking.CHAMPION)
    except tracking.NoSuchModel as error:
        return Check("champion", "warn", f"{console.one_line(error)}; pretrained/ is used until `rnr run` promotes one")
    except tracking.TrackingError as error:
        return Check("champion", "fail", console.one_line(error))
    return Check("champion", "ok", tracking.CHAMPION)


def telemetry() -> Check:
    loud = [name for name, off in TELEMETRY.items() if os.environ.get(name, "").lower() != off]
    return Check("telemetry", "warn" if loud else "ok", f"not off: {', '.join(loud)}" if loud else "off")


def checks() -> Iterator[Check]:
    """All checks, cheap ones first."""
    yield python()
    yield from packages()
    yield from machine()
    yield from compiler()
    yield telemetry()
    for check in (parameters, pipeline, champion):
        yield _survive(check)


def _survive(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # a broken installation is what a doctor is for: it is reported as a failed check
        return Check(check.__name__, "fail", f"{type(error).__name__}: {console.one_line(error)}")


def command(args: argparse.Namespace) -> int:
    """`rnr doctor`: exit code 1 when a check fails; warnings do not count."""
    tracking.telemetry_off()
    found = []
    for check in checks():
        found.append(check)
        if not args.json:
            print(f"{check.state:<5} {check.name:<13} {check.told}", flush=True)
    if args.json:
        console.put_json([check._asdict() for check in found])
    return console.SOME_FAILED if any(check.state == "fail" for check in found) else console.OK
