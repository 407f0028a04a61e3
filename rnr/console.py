"""What every command shares: exit codes, one-line errors, tables, and a bar where a person watches."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from components import redaction

T = TypeVar("T")

OK, SOME_FAILED, WRONG_USE = 0, 1, 2


class WrongUse(ValueError):
    """The command was used wrongly: one line on stderr, exit code 2."""


class Failed(RuntimeError):
    """The command was right but could not be done: one line on stderr, exit code 1."""


def one_line(error: BaseException | str) -> str:
    """Text of an error without line breaks and secrets; the type's name where it says nothing."""
    return " ".join(redaction.redact(error).split()) or type(error).__name__


def warn(line: str) -> None:
    """One line for the person, beside whatever goes to stdout."""
    print(printable(redaction.redact(line)), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Text that any terminal and log takes: control characters (a file name may hold some) are written as \\x1b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def put_json(value: object) -> None:
    """One JSON value as one line of stdout."""
    # a name that is no UTF-8 comes as a lone surrogate, which JSON writes as \\udcff
    print(json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode(), flush=True)


def put_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns aligned with spaces: readable in a terminal, a log and a pipe alike; never cut off."""
    cells = [list(head)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    numeric = [bool(rows) and all(_is_number(row[column]) for row in rows) for column in range(len(head))]
    for row in cells:
        layout = zip(row, widths, numeric, strict=True)
        print("  ".join(text.rjust(width) if right else text.ljust(width) for text, width, right in layout).rstrip())


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else printable(str(value))


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """The items, with a bar on stderr when it is a terminal, else silently: failures have lines of their own."""
    if not sys.stderr.isatty() or total < 2:
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    # rich draws stdout through its own console, here stderr: not where stdout goes to a file or a pipe.
    # transient: the bar goes away and leaves the lines of the result
    console = Console(stderr=True)
    with Progress(console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        yield from bar.track(items, description=label, total=total)


def guarded(action: Callable[[], int]) -> int:
    """Exit code of `action`, its errors told in one line each."""
    from components.params import ParamsError

    try:
        return action()
    except (WrongUse, ParamsError) as error:
        warn(f"rnr: {one_line(error)}")
        return WRONG_USE
    except Failed as error:
        warn(f"rnr: {one_line(error)}")
        return SOME_FAILED
    except BrokenPipeError:
        # `rnr diagnose ... | head`: the reader has seen enough; stdout must not be flushed again at exit
        sys.stdout = open("/dev/null", "w", encoding="utf-8")  # noqa: SIM115
        return OK
    except KeyboardInterrupt:
        warn("rnr: interrupted")
        return 130
