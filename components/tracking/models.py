"""Registered models as local folders."""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from components.tracking.store import NoSuchModel, TrackingError, client, explained, scrub, sqlite_file, uri

MODEL_NAME = "reason-and-restore"
CHAMPION = f"models:/{MODEL_NAME}@champion"
# where the pyfunc of components/serving keeps reasoner/ and restorer/ inside a version's folder
MODELS_IN_VERSION = Path("artifacts/models")


def pinned(ref: str = CHAMPION) -> str:
    """models:/NAME/VERSION of the version that `ref` stands for now: an alias moves, a number does not.

    Raises NoSuchModel, or TrackingError where the registry cannot be asked.
    """
    version, _ = _look_up(ref)
    return f"models:/{version.name}/{version.version}"


def fetch_version(ref: str = CHAMPION) -> Path:
    """The local folder of a registered version (MLmodel, artifacts/, code/); downloaded once if it is elsewhere.

    `ref` is models:/NAME@ALIAS or models:/NAME/VERSION. Raises NoSuchModel.
    """
    version, place = _look_up(ref)
    if urlsplit(place).scheme in ("", "file"):
        folder = Path(unquote(urlsplit(place).path))
        if not folder.exists():
            raise NoSuchModel(f"{ref}: its files are gone from {folder}; `rnr rollback` or `rnr run` gives another")
        return folder
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reason-and-restore"
    folder = cache / f"{version.name}-{version.version}-{version.creation_timestamp}"
    if not folder.exists():
        from mlflow.artifacts import download_artifacts

        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as part, explained(f"download {ref}"):
            address = f"models:/{version.name}/{version.version}"
            got = Path(download_artifacts(artifact_uri=address, dst_path=part, tracking_uri=uri()))
            got.rename(folder)
    return folder


def _look_up(ref: str) -> tuple[Any, str]:
    """The registered version behind a reference, and where its files are. Raises NoSuchModel, TrackingError."""
    told = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))", ref)
    if not told:
        raise NoSuchModel(f"{ref}: not a model reference; write {CHAMPION} or models:/{MODEL_NAME}/3")
    file = sqlite_file(uri())
    if file and not file.exists():
        raise NoSuchModel(f"{ref}: no model registry at {file}; `rnr run` trains and promotes a model")
    if importlib.util.find_spec("mlflow") is None:
        raise NoSuchModel(f"{ref}: mlflow is not installed; install requirements.lock or give a model folder")
    store = client()
    from mlflow.exceptions import MlflowException

    name, alias, number = told.groups()
    try:
        version = store.get_model_version_by_alias(name, alias) if alias else store.get_model_version(name, number)
        return version, store.get_model_version_download_uri(name, version.version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise TrackingError(
                f"MLflow at {scrub(uri())}: cannot look up {ref}: {scrub(error.message)[:500]}"
            ) from error
        raise NoSuchModel(f"{ref}: no such model in {scrub(uri())}; `rnr run` or `rnr promote` makes one") from None


def fetch_model(ref: str = CHAMPION) -> Path:
    """The local folder with reasoner/ and restorer/ of a registered model. Raises NoSuchModel."""
    return fetch_version(ref) / MODELS_IN_VERSION
