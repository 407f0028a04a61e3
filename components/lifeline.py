"""A helper process that must not outlive the one it works for, however that one ends.

`kill -9` runs no handler in the killed process. Under Linux the kernel tells its children; elsewhere nothing happens
here, and flows/guard.py, which holds the whole tree of a stage, is what ends them.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def die_with_parent(how: signal.Signals = signal.SIGKILL, parents_parent: int | None = None) -> None:
    """Let the kernel send `how` to this process when its parent ends. To be called early, by the child itself.

    `parents_parent`: whose child the parent has to be. A child that lost its parent before it came here has been given
    another by then, and has no other way to tell.
    """
    if not sys.platform.startswith("linux"):
        return
    # a worker that is still importing may have lost its owner before it comes here
    owner = multiprocessing.parent_process()
    parent = owner.pid if owner else os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(how))
    # the parent may have ended before the kernel knew of our wish
    lost = os.getppid() != parent or (parents_parent is not None and _parent_of(parent) != parents_parent)
    if lost:
        os.kill(os.getpid(), how)


def _parent_of(process: int | None) -> int | None:
    """None where there is no such process."""
    try:
        # the name, in brackets, may hold anything; after it come the state and the parent
        return int(Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except OSError:
        return None
