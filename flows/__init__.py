"""Prefect only: the DVC graph as tasks, the retraining flow.

Prefect reads its settings while it is imported, so they stand here, ahead of every module that imports it. A user's
own settings win: with PREFECT_API_URL the runs go to that server, without it to one that lives as long as the flow.
"""

import os
from pathlib import Path

from components import redaction, tracking

tracking.telemetry_off()
redaction.install()
os.environ.setdefault("PREFECT_HOME", str(Path("work/prefect").absolute()))
# a cold server takes 25 s on an idle machine of two cores, several times that beside a training
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")


def make_home() -> None:
    """Create Prefect's folder: its temporary server cannot, and dies over and over until it is given up."""
    Path(os.environ["PREFECT_HOME"]).expanduser().mkdir(parents=True, exist_ok=True)


# also for what only imports Prefect: it warns while it is imported without its folder
make_home()
