"""Where a result comes from: the commit of the code and the digests that dvc.lock holds. Reads, never writes."""

from __future__ import annotations

import hashlib
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


def input_digests(stage: str) -> dict[str, str]:
    """What `stage` of dvc.yaml reads, as path -> digest, for every input that another stage made."""
    deps = _read("dvc.yaml").get("stages", {}).get(stage, {}).get("deps", [])
    found = {dep: locked_digest(dep) for dep in deps if isinstance(dep, str)}
    return {dep: digest for dep, digest in found.items() if digest}


def file_digest(path: str | Path) -> str | None:
    """MD5 of a file in hexadecimal, as DVC writes it; None where there is no file."""
    try:
        return hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest()
    except FileNotFoundError:
        return None
