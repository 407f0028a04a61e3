"""What `rnr doctor` and `make audit` share: a check, how it is told, and the exit code of many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from components import redaction
from rnr import console

OK, WARN, FAIL, UNKNOWN = "ok", "warn", "fail", "unknown"


class Check(NamedTuple):
    """One line of a report. `state`: ok, warn, fail, or unknown (could not be checked here); `remedy`: how to mend."""

    name: str
    state: str
    told: str
    remedy: str = ""


def survive(name: str, check: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """The checks that `check` gives; a failed one if it breaks: broken installations are what these reports are for."""
    try:
        yield from check()
    except Exception as error:
        yield Check(name, FAIL, f"{type(error).__name__}: {console.one_line(error)}", "run `make setup` again")


def report(checks: Iterable[Check], as_json: bool) -> int:
    """Tell every check as soon as it is known, secrets left out; exit code 1 when one failed."""
    found = []
    for check in checks:
        check = Check(*(redaction.redact(text) for text in check))
        found.append(check)
        if not as_json:
            remedy = f"; {check.remedy}" if check.remedy else ""
            print(console.printable(f"{check.state:<7} {check.name:<14} {check.told}{remedy}"), flush=True)
    if as_json:
        console.put_json([check._asdict() for check in found])
    return console.SOME_FAILED if any(check.state == FAIL for check in found) else console.OK
