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

PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def die_with_parent(how: signal.Signals = signal.SIGKILL) -> None:
    """Let the kernel send `how` to this process when its parent ends. To be called early, by the child itself."""
    if not sys.platform.startswith("linux"):
        return
    # a worker that is still importing may have lost its owner before it comes here
    owner = multiprocessing.parent_process()
    parent = owner.pid if owner else os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(how))
    # the parent may have ended before the kernel knew of our wish
    if os.getppid() != parent:
        os.kill(os.getpid(), how)
