"""Where a result comes from: the commit of the code and the digests that dvc.lock holds. Reads, never writes."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import yaml


def code_version() -> dict[str, str]:
    """`git_sha` and `git_dirty` of the working directory; "none" where there is no commit or no git."""
    try:
        git = [["git", "rev-parse", "HEAD"], ["git", "status", "--porcelain"]]
        sha, changes = (subprocess.run(c, capture_output=True, text=True, check=True).stdout.strip() for c in git)
    except (OSError, subprocess.CalledProcessError):
        return {"git_sha": "none", "git_dirty": "unknown"}
    return {"git_sha": sha, "git_dirty": str(bool(changes)).lower()}


def _read(path: str) -> dict:
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return {}


def locked_digest(path: str) -> str | None:
    """The digest under which dvc.lock knows the output `path`, or None."""
    outs = [out for stage in _read("dvc.lock").get("stages", {}).values() for out in stage.get("outs", [])]
    return next((out.get("md5") or out.get("etag") for out in outs if out["path"] == path), None)


def folder_digest(path: str | Path) -> str | None:
    """The digest of a folder as DVC writes it into dvc.lock, of what lies there now; None where there is no folder.

    MD5 of the list of its files with the MD5 of each, and ".dir"; tests/promotion holds it against DVC's own.
    """
    top = Path(path)
    if not top.is_dir():
        return None
    files = sorted((p.relative_to(top).as_posix(), p) for p in top.rglob("*") if p.is_file())
    rows = [{"md5": _md5(file), "relpath": name} for name, file in files]
    return hashlib.md5(json.dumps(rows, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def input_digests(stage: str) -> dict[str, str]:
    """What `stage` of dvc.yaml reads, as path -> digest, for every input that another stage made."""
    deps = _read("dvc.yaml").get("stages", {}).get(stage, {}).get("deps", [])
    found = {dep: locked_digest(dep) for dep in deps if isinstance(dep, str)}
    return {dep: digest for dep, digest in found.items() if digest}


def file_digest(path: str | Path) -> str | None:
    """MD5 of a file in hexadecimal, as DVC writes it; None where there is no file."""
    try:
        return _md5(Path(path))
    except FileNotFoundError:
        return None
