"""The one door to MLflow: runs, metrics by step, checkpoints, and the folder of a registered model.

A stage logs through `stage_run`; the flow makes a parent run and one child per executed stage and hands the child
over in MLFLOW_RUN_ID. The store is MLFLOW_TRACKING_URI, else a SQLite file in the working directory:

    mlflow ui --backend-store-uri sqlite:///mlflow.db
"""

from components.tracking.models import CHAMPION, MODEL_NAME, MODELS_IN_VERSION, fetch_model, fetch_version, pinned
from components.tracking.run import NoRun, StageRun, last_run, remember_run, stage_run
from components.tracking.store import (
    EXPERIMENT,
    NoSuchModel,
    TrackingError,
    client,
    explained,
    scrub,
    telemetry_off,
    uri,
)

__all__ = [
    "CHAMPION",
    "EXPERIMENT",
    "MODELS_IN_VERSION",
    "MODEL_NAME",
    "NoRun",
    "NoSuchModel",
    "StageRun",
    "TrackingError",
    "client",
    "explained",
    "fetch_model",
    "fetch_version",
    "last_run",
    "pinned",
    "remember_run",
    "scrub",
    "stage_run",
    "telemetry_off",
    "uri",
]
