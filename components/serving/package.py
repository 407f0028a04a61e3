"""Both models, their reports and the code as one MLflow model, registered as a new version."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import tempfile
from pathlib import Path

from components import tracking
from components.refinement.delivered import INSIDE
from components.serving import smoke

COMPONENTS = Path(__file__).resolve().parents[1]
CARD_FILE = "model_card.md"
# what MLflow's database takes; PostgreSQL refuses more
DESCRIPTION_CHARACTERS = 5000
# what the inference core imports; pinned to what it was made with
REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pyarrow",
    "pydantic",
    "pyyaml",
    "safetensors",
    "scipy",
    "torch",
    "tqdm",
    "transformers",
)


def pinned() -> list[str]:
    """NAME==VERSION of the requirements that are installed here."""
    found = []
    for name in REQUIREMENTS:
        try:
            found.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            # an optional one: the core works without it here, so it will there
            continue
    return found


def signature():
    """Column image (base64 text or bytes) and the parameters edits and strength."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

    text = DataType.string
    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), "image")]),
        outputs=Schema([ColSpec(text, name) for name in ("image", "diagnosis", "kept")]),
        params=ParamSchema([ParamSpec("edits", text, ""), ParamSpec("strength", DataType.double, 1.0)]),
    )


def log(
    reasoner: Path,
    restorer: Path,
    reports: Path,
    run_id: str | None,
    tags: dict[str, str],
    card: str,
    components: Path = COMPONENTS,
) -> str:
    """Log the model, its card as reports/model_card.md, and register it. Returns the version; raises TrackingError."""
    import pandas as pd

    store = tracking.client()
    import mlflow
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    with tempfile.TemporaryDirectory() as folder, tracking.explained("register the model"):
        place = Path(folder)
        # one artifact with the two folders under the names that components.inference looks for
        for path, name in ((reasoner, "models/reasoner"), (restorer, "models/restorer"), (reports, "reports")):
            # a reasoner inside the restorer's folder is the one that comes beside it
            shutil.copytree(path, place / name, copy_function=_link, ignore=shutil.ignore_patterns(INSIDE))
        (place / "reports" / CARD_FILE).write_text(card, encoding="utf-8")
        experiment = store.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
        logged = store.create_logged_model(experiment, tracking.MODEL_NAME, run_id, model_type="reason-and-restore")
        # saved, then logged: `log_model` would load and ask the model in this process, which the smoke test does
        # in one of its own, and would write to whatever experiment is active
        mlflow.pyfunc.save_model(
            str(place / "model"),
            python_model=str(components / "serving" / "pyfunc_model.py"),
            artifacts={"models": str(place / "models"), "reports": str(place / "reports")},
            code_paths=[str(components)],
            signature=signature(),
            input_example=pd.DataFrame({"image": [smoke.photo()]}),
            pip_requirements=pinned(),
            mlflow_model=Model(model_id=logged.model_id),
        )
        store.log_model_artifacts(logged.model_id, str(place / "model"))
        store.finalize_logged_model(logged.model_id, "READY")
        if run_id:
            store.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
        try:
            store.create_registered_model(
                tracking.MODEL_NAME, description="Diagnose a photo, restore it, check the result."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = store.create_model_version(
            tracking.MODEL_NAME,
            f"models:/{logged.model_id}",
            run_id=run_id,
            tags=tags,
            # a preview for MLflow's page; the whole card lies with the model
            description=card[:DESCRIPTION_CHARACTERS],
            model_id=logged.model_id,
        )
    return str(made.version)


def _link(source: str, target: str) -> None:
    """A hard link where the disk allows it: models may be gigabytes, and MLflow copies them once anyway."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
