"""One process of the reasoner's training: tied to its launcher first, then `sft`.

    torchrun --standalone --nproc_per_node 1 -m components.reasoner.worker work/reasoner/<inputs>

The launcher's end is no sign that its workers have ended. What `sft` imports takes many seconds, and whoever lost the
launcher meanwhile would train on, unseen: nothing heavy may be imported above.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from components import lifeline

# the process that started the launcher, where both are on this machine
STAGE_PID = "RNR_STAGE_PID"


def main() -> None:
    stage = os.environ.get(STAGE_PID)
    lifeline.die_with_parent(parents_parent=int(stage) if stage else None)
    parser = argparse.ArgumentParser(description="One process of the reasoner's training")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    from components.reasoner import sft

    sft.main(folder)


if __name__ == "__main__":
    main()
