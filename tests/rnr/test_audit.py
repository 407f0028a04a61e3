"""`make audit`: on this environment's own packages, on packages that were tampered with, and with pip-audit or not."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

from rnr import audit, licences, lock
from rnr.checks import FAIL, OK, UNKNOWN, WARN, Check, report


def install(site: Path, name: str, version: str, files: dict[str, str], metadata: str = "License: MIT") -> None:
    """A package as pip leaves it."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    rows = []
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text, encoding="utf-8")
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text)}")
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}\n", encoding="utf-8"
    )
    (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,"]) + "\n", encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of two packages, and its lock."""
    install(tmp_path / "site", "good", "1.0", {"good/a.py": "a", "good/b.py": "b"})
    install(tmp_path / "site", "Other_One", "2.0", {"other/c.py": "c"})
    (tmp_path / "lock").write_text("good==1.0  # why\n\nother-one==2.0\n", encoding="utf-8")
    monkeypatch.setattr(lock, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(lock.pins, "__defaults__", (tmp_path / "lock",))
    found = importlib.metadata.distributions
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: found(path=[str(tmp_path / "site")]))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "site"


def states() -> dict[str, tuple[str, str]]:
    return {check.name: (check.state, check.told) for check in audit.audit()}


def test_this_environment_is_what_the_lock_says_and_its_licences_are_known() -> None:
    """The real one; its 7 GB of files are left to `make audit`."""
    checks = [*audit.pins(True), *audit.licence_check(True)]
    assert [(check.state, check.told) for check in checks if check.state != OK] == []


def test_a_clean_environment(site: Path, capsys) -> None:
    assert audit.main([]) == 0
    told = capsys.readouterr().out
    assert "all 2 pins are installed" in told
    assert "the files of 2 packages are as they were installed" in told
    assert "unknown vulnerabilities not checked: pip-audit is not installed" in told


def test_other_versions_missing_and_unpinned_packages(site: Path, tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("good==1.1\ngone==3\n", encoding="utf-8")
    state, told = states()["pins"]
    assert state == FAIL
    assert told == "good is 1.0, pinned is 1.1; gone 3 is not installed; other-one 2.0 is not pinned"
    (tmp_path / "lock").write_text("good>=1.1\n", encoding="utf-8")
    state, told = states()["lock"]
    assert (state, told.endswith("line 1 pins no version: good>=1.1")) == (FAIL, True)


def test_files_changed_after_the_installation_are_found(site: Path, capsys) -> None:
    (site / "good/a.py").write_text("import os", encoding="utf-8")
    (site / "other/c.py").unlink()
    assert audit.main(["--json"]) == 1
    found = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert found["files"]["state"] == FAIL
    assert "good: good/a.py was changed after it was installed" in found["files"]["told"]
    assert "Other_One: other/c.py" in found["files"]["told"]


def test_two_packages_with_one_file_are_told_apart_from_tampering(site: Path) -> None:
    install(site, "twin", "1.0", {"good/a.py": "the twin's"})
    found = states()
    assert found["shared files"] == (WARN, "good and twin both bring 1 different files of one name")
    assert found["files"][0] == OK


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ("License-Expression: MIT", "permissive"),
        ("License-Expression: Apache-2.0 OR GPL-2.0-or-later", "permissive"),
        ("License-Expression: MPL-2.0 AND MIT", "weak copyleft"),
        ("License-Expression: GPL-3.0-only", "strict"),
        ("License: AGPL-3.0", "strict"),
        ("License-Expression: PolyForm-Noncommercial-1.0.0", "strict"),
        ("License-Expression: LicenseRef-NVIDIA-Proprietary", "strict"),
        ("Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)", "strict"),
        ("Classifier: License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", "weak copyleft"),
        ("License: UNKNOWN", "unknown"),
        ("Summary: says nothing", "unknown"),
    ],
)
def test_licences_are_read_and_surprising_ones_refused(site: Path, metadata: str, family: str) -> None:
    install(site, "new-one", "1.0", {}, metadata)
    row = next(row for row in audit.licence_rows() if row[0] == "new-one")
    assert row[2] == family
    assert (states()["licences"][0] == FAIL) == (family in ("strict", "unknown"))


def test_a_strict_licence_that_was_looked_at_may_stay(site: Path) -> None:
    install(site, "nvidia-something", "1.0", {}, "License: Proprietary")
    assert states()["licences"] == (OK, "2 permissive, 1 strict")
    assert licences.accepted("nvidia-something")
    assert licences.accepted("not-nvidia") is None


@pytest.mark.parametrize(
    ("answer", "state", "told"),
    [
        ('{"dependencies": [{"name": "good", "version": "1.0", "vulns": []}]}', OK, "none known in 1 packages"),
        ('{"dependencies": [{"name": "good", "version": "1.0", "vulns": [{"id": "CVE-1"}]}]}', FAIL, "good 1.0: CVE-1"),
        ("", UNKNOWN, "not checked: pip-audit got no answer"),
    ],
)
def test_vulnerabilities_where_pip_audit_is_there(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, state: str, told: str
) -> None:
    (tmp_path / "pip-audit").write_text(f"#!/bin/sh\necho '{answer}'\n", encoding="utf-8")
    (tmp_path / "pip-audit").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (check,) = audit.vulnerabilities(False)
    assert (check.state, check.told) == (state, told)


def test_reports_hide_secrets_and_fail_only_for_failures(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary-report")
    assert report([Check("a", UNKNOWN, "with canary-report"), Check("b", WARN, "x", "do y")], False) == 0
    assert capsys.readouterr().out.splitlines() == ["unknown a              with ***", "warn    b              x; do y"]
    assert report([Check("a", FAIL, "x")], True) == 1
