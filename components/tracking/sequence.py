"""Numbered entries in the registry: the one thing there that a database gives out once and never again.

An entry is a version of a registered model that stands for no model; its number is the version's. Two writers never
get the same number, on SQLite, PostgreSQL or behind a server alike, and the number of a removed entry is not used
again. components/promotion keeps its queue and its record in such sequences.
"""

from __future__ import annotations

from typing import Any

from components.tracking.store import client, explained

# a version must name a source; this one leads nowhere
SOURCE = "rnr:/entry"


def append(name: str, about: str, tags: dict[str, str]) -> int:
    """A new entry with these tags; returns its number. `about` describes the sequence where it is new."""
    from mlflow.exceptions import MlflowException

    store = client()
    with explained(f"add to {name}"):
        try:
            store.create_registered_model(name, description=about)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return int(store.create_model_version(name, SOURCE, tags=tags).version)


def entries(name: str) -> dict[int, dict[str, str]]:
    """Number -> tags of every entry that was not removed, in their order."""
    store = client()
    found: dict[int, dict[str, str]] = {}
    token: Any = None
    with explained(f"read {name}"):
        while True:
            page = store.search_model_versions(f"name = '{name}'", page_token=token)
            found |= {int(version.version): dict(version.tags) for version in page}
            token = page.token
            if not token:
                return dict(sorted(found.items()))


def newest(name: str) -> dict[str, str] | None:
    """The tags of the newest entry, or None."""
    store = client()
    with explained(f"read {name}"):
        page = store.search_model_versions(f"name = '{name}'", max_results=1, order_by=["version_number DESC"])
    return dict(page[0].tags) if page else None


def mark(name: str, number: int, tag: str, value: str) -> None:
    """Change a tag of an entry."""
    with explained(f"change an entry of {name}"):
        client().set_model_version_tag(name, str(number), tag, value)


def remove(name: str, number: int) -> None:
    """Remove an entry; one that is gone already is no error."""
    from mlflow.exceptions import MlflowException

    with explained(f"remove an entry of {name}"):
        try:
            client().delete_model_version(name, str(number))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
