"""The registry as promotion sees it: versions, aliases, tags. Everything goes through the client of tracking."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components import redaction, tracking
from components.refinement.delivered import INSIDE

CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous_champion"
FILES_DIGEST = "files_digest"  # a tag
REPORT_IN_VERSION = Path("artifacts/reports/metrics.json")


class PromotionError(RuntimeError):
    """Registration, promotion or rollback cannot be done as asked; one line with the remedy."""


def aliases() -> dict[str, str]:
    """alias -> version of the registered model; empty when there is none."""
    store = tracking.client()
    with tracking.explained("read the registry"):
        models = store.search_registered_models(f"name = '{tracking.MODEL_NAME}'")
    # the registry answers with integers, its other calls want strings
    return {alias: str(version) for model in models for alias, version in model.aliases.items()}


def point(alias: str, version: str) -> None:
    """Move an alias."""
    with tracking.explained(f"move @{alias}"):
        tracking.client().set_registered_model_alias(tracking.MODEL_NAME, alias, version)


def version_tags(version: str) -> dict[str, str]:
    """The tags of a version. Raises PromotionError when there is no such version."""
    known = {str(found.version): found for found in all_versions()}
    if version not in known:
        have = ", ".join(sorted(known, key=int)) or "none"
        raise PromotionError(f"{tracking.MODEL_NAME}: no version {version}; there are: {have} (`rnr models`)")
    return dict(known[version].tags)


def files_digest(reasoner: Path, restorer: Path, metrics: Path) -> str:
    """SHA-256 of two model folders and their report: what makes two versions the same, wherever they lie."""
    digest = hashlib.sha256()
    for name, top in (("reasoner", reasoner), ("restorer", restorer), ("metrics.json", metrics)):
        for path in sorted(p for p in [top, *top.rglob("*")] if p.is_file()):
            # a reasoner inside a restorer's folder is the one that stands here as the reasoner
            if name == "restorer" and path.relative_to(top).parts[0] == INSIDE:
                continue
            digest.update(f"{name}/{path.relative_to(top).as_posix()}\n".encode())
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def fetch_whole(version: str) -> Path:
    """The local folder of a version, whose models and report are those that were registered. Raises PromotionError."""
    folder = tracking.fetch_version(f"models:/{tracking.MODEL_NAME}/{version}")
    models = folder / tracking.MODELS_IN_VERSION
    expected = version_tags(version).get(FILES_DIGEST)
    # versions of the time before this tag have nothing to be held against
    if expected and files_digest(models / "reasoner", models / "restorer", folder / REPORT_IN_VERSION) != expected:
        raise PromotionError(
            f"version {version}: its files in {folder} are not those that were registered; restore them from a "
            "backup, or `rnr run` for another version"
        )
    return folder


def tag(version: str, values: dict[str, str]) -> None:
    """Set tags on a version."""
    store = tracking.client()
    with tracking.explained(f"tag version {version}"):
        for name, value in values.items():
            store.set_model_version_tag(tracking.MODEL_NAME, version, name, redaction.redact(value))


def all_versions() -> list[Any]:
    """Every version, newest first."""
    store = tracking.client()
    found, token = [], None
    with tracking.explained("read the registry"):
        while True:
            page = store.search_model_versions(f"name = '{tracking.MODEL_NAME}'", page_token=token)
            found += page
            token = page.token
            if not token:
                return sorted(found, key=lambda version: -int(version.version))


def list_models() -> list[dict[str, object]]:
    """One row a version, newest first: version, aliases, created (UTC), verdict, the figures it was registered with.

    Raises TrackingError when the store cannot be reached; empty when nothing is registered.
    """
    named: dict[str, list[str]] = {}
    for alias, version in aliases().items():
        named.setdefault(version, []).append(alias)
    rows: list[dict[str, object]] = []
    for found in all_versions():
        tags = found.tags
        created = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC).isoformat(timespec="seconds")
        rows.append(
            {
                "version": str(found.version),
                "aliases": sorted(named.get(str(found.version), [])),
                "created": created,
                "verdict": "rolled back" if tags.get("rolled_back") else tags.get("gate", "not judged"),
                "psnr_gain_db": _figure(tags.get("psnr_gain_db")),
                "macro_f1": _figure(tags.get("macro_f1")),
                "git_sha": tags.get("git_sha", "none"),
                "git_dirty": tags.get("git_dirty", "unknown"),
                "dataset_digest": tags.get("dataset_digest", "none"),
                "run_id": found.run_id or "",
            }
        )
    return rows


def _figure(text: str | None) -> float | None:
    return float(text) if text else None
