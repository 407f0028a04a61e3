"""Looks at, and changes to, the working directory of the promotion tests."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from components import tracking
from components.tracking import lineage


def set_data(content: str) -> str:
    """data/pairs with this content, and dvc.lock to match. Returns the digest."""
    Path("data/pairs").mkdir(parents=True, exist_ok=True)
    Path("data/pairs/test-00000.parquet").write_text(content, encoding="utf-8")
    digest = lineage.folder_digest("data/pairs")
    lock = {"stages": {"synthesize": {"outs": [{"path": "data/pairs", "md5": digest}]}}}
    Path("dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    return str(digest)


def audit_lines() -> list[dict]:
    return [json.loads(line) for line in Path("audit/promotions.jsonl").read_text(encoding="utf-8").splitlines()]


def champion_name() -> str:
    """What stands in the model file of the champion."""
    return (tracking.fetch_model() / "reasoner" / "model.txt").read_text(encoding="utf-8")
