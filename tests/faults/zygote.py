"""A process that has imported what stages import and forks one stage after another, so that a kill costs a second.

    python -m tests.faults.zygote [MODULE ...]

One order a line on stdin, one answer a line on stdout, both JSON (class Zygote in stages.py is the other end). A child
runs a stage's module as `python -m` does, in a session of its own. What a killed stage leaves alive is handed to this
process by the kernel: `alive` tells whether there is an orphan.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import json
import os
import resource
import runpy
import signal
import sys
import time
import traceback

import psutil

PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h
EVERYTHING = (
    "mlflow.store.tracking.sqlalchemy_store",
    "transformers.models.qwen3_vl.modeling_qwen3_vl",
    "components.annotation.annotate",
    "components.evaluation.evaluate",
    "components.photos.ingest",
    "components.reasoner.diagnose_pairs",
    "components.refinement.refine",
    "components.report.write",
    "components.restorer.train",
    "components.synthesis.synthesize",
)
_codes: dict[int, int] = {}


def jump(jumps: list[list[float]]) -> None:
    """From now on `time.time` is off by the last offset whose second has come: [[second, offset], ...]."""
    real, began = time.time, time.monotonic()

    def shown() -> float:
        passed = time.monotonic() - began
        return real() + next((offset for after, offset in reversed(jumps) if passed >= after), 0.0)

    time.time = shown


def run(order: dict) -> int:
    """The stage of an order, in this process; its exit code."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.chdir(order["folder"])
    os.environ.update(order["environment"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    if order["file_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_bytes"], order["file_bytes"]))
    jump(order["jumps"])
    sys.argv = [order["module"]]
    try:
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    return code


def reap() -> None:
    """Note the exit codes of all children that ended, adopted ones too."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            _codes[pid] = os.waitstatus_to_exitcode(status)


def answer(order: dict) -> object:
    if order["do"] == "start":
        pid = os.fork()
        if not pid:
            code = 70
            try:
                code = run(order)
            finally:
                os._exit(code)
        return pid
    if order["do"] == "wait":
        end = time.monotonic() + order["seconds"]
        while order["pid"] not in _codes and time.monotonic() < end:
            reap()
            time.sleep(0.005)
        return _codes.get(order["pid"])
    reap()
    left = []
    for child in psutil.Process().children(recursive=True):
        # one that ended meanwhile is none
        with contextlib.suppress(psutil.NoSuchProcess):
            left.append([child.pid, " ".join(child.cmdline())])
    return left


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    # answers go where stdout was; what a library prints goes to stderr
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for module in sys.argv[1:] or EVERYTHING:
        importlib.import_module(module)
    answers.write("true\n")
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
    for child in psutil.Process().children(recursive=True):
        child.kill()


if __name__ == "__main__":
    main()
