"""The one reader of DVC's graph: which stages there are, what each needs, which have changed.

    python -m flows.dvc_graph

DVC promises nothing about these internals (`Repo().index.graph`); tests/flows/test_dvc_graph.py holds the
contract against the real DVC. It is imported when asked, so that a run can start its server first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.repo import Repo


LOCK_FILE = Path("dvc.lock")


class GraphError(RuntimeError):
    """The folder is no DVC repository or dvc.yaml cannot be used; one line."""


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml. `deps` are names of other stages; paths are relative to the repository."""

    name: str
    deps: frozenset[str]
    outs: tuple[str, ...]
    metrics: tuple[str, ...]
    cmd: str


@contextlib.contextmanager
def _opened(repository: str | Path, wait: bool = False) -> Iterator[Repo]:
    """The repository; with `wait` another DVC at work in it is waited for, as `dvc --wait-for-lock` does."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(repository), _wait_for_lock=wait) as repo:
            yield repo
    except DvcException as error:
        told = " ".join(str(error).split())
        raise GraphError(f"{Path(repository).absolute()}: {told}") from error


def stages(repository: str | Path = ".") -> list[Stage]:
    """All stages, each after those it needs; ties in alphabetical order. Raises GraphError."""
    import networkx

    with _opened(repository) as repo:
        graph = repo.index.graph
        # edges point from a stage to what it needs; data files tracked by `dvc add` run nothing
        graph = graph.subgraph([node for node in graph if node.cmd])
        order = networkx.lexicographical_topological_sort(graph.reverse(), key=lambda node: node.name)
        return [
            Stage(
                name=node.name,
                deps=frozenset(needed.name for needed in graph.successors(node)),
                outs=tuple(out.def_path for out in node.outs if not out.metric),
                metrics=tuple(out.def_path for out in node.outs if out.metric),
                cmd=node.cmd if isinstance(node.cmd, str) else " && ".join(node.cmd),
            )
            for node in order
        ]


def status(repository: str | Path = ".") -> dict[str, str]:
    """Changed stages only: name -> why, in words. Raises GraphError."""
    with _opened(repository, wait=True) as repo:
        names = {stage.addressing: stage.name for stage in repo.index.stages if stage.cmd}
        try:
            found = repo.status()
        # "hash: m" is what a torn "hash: md5" leaves: valid YAML, of a hash that there is not
        except NotImplementedError as error:
            raise GraphError(f"{LOCK_FILE}: names a hash that DVC does not know") from error
        return {names[key]: _why(reasons) for key, reasons in found.items() if key in names}


def lacks_only_cache(repository: str | Path = ".") -> bool:
    """Whether all outputs are as dvc.lock says, whatever of them the cache lacks. Raises GraphError."""
    with _opened(repository, wait=True) as repo:
        reasons = [reason for reasons in repo.status().values() for reason in reasons]
        return all(
            isinstance(reason, dict)
            and reason.keys() == {"changed outs"}
            and set(reason["changed outs"].values()) == {"not in cache"}
            for reason in reasons
        )


def stores(repository: str | Path = ".") -> tuple[Path, Path]:
    """Where DVC keeps the objects that it has hashed, by their MD5, and where it notes which inputs gave which
    outputs. Raises GraphError."""
    with _opened(repository) as repo:
        return Path(repo.cache.local.path), Path(repo.stage_cache.cache_dir)


def _why(reasons: list) -> str:
    parts = []
    for reason in reasons:
        if isinstance(reason, dict):
            for what, paths in reason.items():
                detail = ", ".join(paths) if isinstance(paths, dict) else str(paths)
                parts.append(f"{what}: {detail}")
        else:
            parts.append(str(reason))
    return "; ".join(parts)


if __name__ == "__main__":
    changed = status()
    for stage in stages():
        print(f"{stage.name}: {changed.get(stage.name, 'up to date')}")
