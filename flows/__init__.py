"""Prefect only: the DVC graph as tasks, the retraining flow.

Prefect reads its settings while it is imported, so they stand here, ahead of every module that imports it. A user's
own settings win: with PREFECT_API_URL the runs go to that server, without it to one that lives as long as the flow.
"""

import os
from pathlib import Path

from components import tracking

tracking.telemetry_off()
os.environ.setdefault("PREFECT_HOME", str(Path("work/prefect").absolute()))
# Prefect makes its home but not the folders above it, and goes on without a database when that fails
Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
# a cold server takes 25 s on an idle machine of two cores, several times that beside a training
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
