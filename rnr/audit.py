"""`make audit`: are the installed packages those of requirements.lock, untouched, and of licences that we know?

    python -m rnr.audit [--json] [--table]

Works offline. Known vulnerabilities are asked for only where pip-audit is installed and its service answers; else
the report says that they were not checked. Exit code 0: nothing found, 1: something is wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rnr import checks, console, licences, lock
from rnr.checks import FAIL, OK, UNKNOWN, WARN, Check

SHOWN = 5  # of many problems of one kind; --json has all
SECONDS = 120  # for pip-audit


def some(told: list[str], everything: bool) -> str:
    """The first few of many problems."""
    rest = len(told) - SHOWN
    return "; ".join(told if everything or rest <= 0 else [*told[:SHOWN], f"and {rest} more"])


def pins(everything: bool) -> Iterator[Check]:
    try:
        pinned = lock.pins()
    except (ValueError, OSError) as error:
        yield Check("lock", FAIL, console.one_line(error), "check requirements.lock out again")
        return
    found = lock.installed()
    wrong = list(lock.differences(pinned, found))
    told = some(wrong, everything) or f"all {len(pinned)} pins are installed, nothing else is"
    yield Check("pins", FAIL if wrong else OK, told, "run `make clean setup`" if wrong else "")


def files(everything: bool) -> Iterator[Check]:
    found = [one for name, one in lock.installed().items() if name not in lock.OWN]
    changed = lock.changed_files(found)
    foreign = [f"{one.package}: {one.file} was changed after it was installed" for one in changed if not one.owner]
    # two packages with the same file: whichever came last has it, on each machine anew
    shared = Counter(f"{one.package} and {one.owner} both bring" for one in changed if one.owner)
    if shared:
        told = some([f"{pair} {count} different files of one name" for pair, count in shared.items()], everything)
        yield Check("shared files", WARN, told, "keep one of the two in requirements.lock")
    told = some(foreign, everything) or f"the files of {len(found)} packages are as they were installed"
    yield Check("files", FAIL if foreign else OK, told, "run `make clean setup`" if foreign else "")


def licence_rows() -> list[tuple[str, str, str, str]]:
    """(package, licence, family, why it is accepted) of all that is installed."""
    rows = []
    for name, one in sorted(lock.installed().items()):
        if name not in lock.OWN:
            licence = licences.stated(one)
            rows.append((name, licence or "-", licences.family(licence), licences.accepted(name) or ""))
    return rows


def licence_check(everything: bool) -> Iterator[Check]:
    rows = licence_rows()
    surprising = [
        f"{name}: {licence}" for name, licence, kind, why in rows if kind in ("strict", "unknown") and not why
    ]
    counts = Counter(kind for _, _, kind, _ in rows)
    told = some(surprising, everything) or ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    remedy = "read the licence; drop the package, or say in rnr/licences.py why it may stay" if surprising else ""
    yield Check("licences", FAIL if surprising else OK, told, remedy)


def vulnerabilities(everything: bool) -> Iterator[Check]:
    beside = Path(sys.executable).parent / "pip-audit"
    program = str(beside) if beside.exists() else shutil.which("pip-audit")
    if program is None:
        told = "not checked: pip-audit is not installed"
        yield Check(
            "vulnerabilities", UNKNOWN, told, "install it in an environment of its own (`pipx install pip-audit`)"
        )
        return
    argv = [program, "-r", str(lock.LOCK), "--no-deps", "--disable-pip", "--progress-spinner", "off", "-f", "json"]
    try:
        run = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
        listed = json.loads(run.stdout)["dependencies"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        yield Check("vulnerabilities", UNKNOWN, "not checked: pip-audit got no answer", "try again with a network")
        return
    known = [f"{one['name']} {one.get('version')}: {bug['id']}" for one in listed for bug in one.get("vulns", [])]
    told = some(known, everything) or f"none known in {len(listed)} packages"
    yield Check("vulnerabilities", FAIL if known else OK, told, "raise these pins and run the tests" if known else "")


def audit(everything: bool = False) -> Iterator[Check]:
    """All checks, the cheap ones first."""
    for name, check in (
        ("pins", pins),
        ("licences", licence_check),
        ("files", files),
        ("vulnerabilities", vulnerabilities),
    ):
        yield from checks.survive(name, lambda check=check: check(everything))  # type: ignore[misc]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check the installed packages against requirements.lock.")
    parser.add_argument("--json", action="store_true", help="machine-readable output, with every problem")
    parser.add_argument("--table", action="store_true", help="list every package with its licence, and nothing else")
    options = parser.parse_args(arguments)
    if options.table:
        head = ("package", "licence", "family", "accepted because")
        if options.json:
            console.put_json([dict(zip(head, row, strict=True)) for row in licence_rows()])
        else:
            console.put_table(head, licence_rows())
        return console.OK
    return checks.report(audit(options.json), options.json)


if __name__ == "__main__":
    sys.exit(main())
