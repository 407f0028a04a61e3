"""Run a command that must not outlive whoever started it; stop it when stdin ends.

    python flows/guard.py dvc repro

`kill -9` on DVC leaves the training alive, and the next start would write the same outputs beside it. The kernel
closes stdin however the parent dies, so this process always learns of it and takes the whole tree down. When it is
DVC alone that dies, what it had started is handed to this process by the kernel, and ends before this one does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

import psutil

# a training writes its checkpoint, torchrun stops its workers
GRACE_SECONDS = float(os.environ.get("RNR_STOP_GRACE_SECONDS", "30"))
PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h


def stop_tree() -> None:
    """SIGTERM to every descendant, SIGKILL to those still there after the grace, then to this process group."""
    stop_descendants()
    # what was started in the meantime is in our group, and so are we
    os.killpg(0, signal.SIGKILL)


def stop_descendants() -> None:
    """SIGTERM to every descendant, SIGKILL to those still there after the grace."""
    family = psutil.Process().children(recursive=True)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(family, timeout=GRACE_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def main() -> int:
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def watch() -> None:
        sys.stdin.buffer.read()
        stop_tree()

    threading.Thread(target=watch, daemon=True).start()
    # the handler runs in the main thread, which waits: another thread does the stopping
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=stop_tree, daemon=True).start())
    code = child.wait()
    # what outlived it: nobody else would end that, and the next start would write the same outputs beside it
    stop_descendants()
    # with the child gone a stop may be under way; it ends this process itself
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
