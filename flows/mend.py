"""What a crash, a full disk or a failing one leaves in DVC's own files, found and put right before a run.

    python -m flows.mend

DVC trusts each object of its cache (it only looks at the file's mode), stops at a torn `dvc.lock` or `.dvc/tmp/rwlock`,
and takes a process with a reused number for the one that held a path. Each would end every later run in the same way.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import yaml

from components import storage
from flows import dvc_graph
from flows.dvc_graph import LOCK_FILE, GraphError

RWLOCK = Path(".dvc/tmp/rwlock")
# object -> (bytes, modified, inode) when it was last read in full
VERIFIED = Path("work/verified.json")


def path_locks(say: Callable[[str], None]) -> None:
    """Drop entries of processes that are no DVC any more, and a file that nobody can read."""
    try:
        content = json.loads(RWLOCK.read_text(encoding="utf-8"))
        held = {kind: dict(content.get(kind, {})) for kind in ("read", "write")}
        kept = {
            "read": {path: [one for one in some if _is_dvc(one)] for path, some in held["read"].items()},
            "write": {path: one for path, one in held["write"].items() if _is_dvc(one)},
        }
        kept["read"] = {path: some for path, some in kept["read"].items() if some}
    except FileNotFoundError:
        return
    except (ValueError, TypeError, AttributeError, KeyError):
        RWLOCK.unlink()
        say(f"{RWLOCK}: torn by a crash, removed")
        return
    if kept != held:
        storage.write_json(RWLOCK, kept)
        say(f"{RWLOCK}: entries of processes that have ended removed")


def _is_dvc(entry: dict) -> bool:
    with contextlib.suppress(psutil.Error):
        return any("dvc" in word for word in psutil.Process(int(entry["pid"])).cmdline())
    return False


def lock_file(say: Callable[[str], None]) -> None:
    """Take a `dvc.lock` that DVC cannot read from git's last commit; without one DVC's run cache fills it again."""
    known = subprocess.run(["git", "show", f"HEAD:./{LOCK_FILE}"], capture_output=True, text=True, check=False)
    LOCK_FILE.replace(LOCK_FILE.with_name(f"{LOCK_FILE}.damaged"))
    if known.returncode == 0:
        with storage.whole_file(LOCK_FILE) as part:
            part.write_text(known.stdout, encoding="utf-8")
    origin = "taken from the last commit" if known.returncode == 0 else "begun anew"
    say(f"{LOCK_FILE}: cannot be read, kept as {LOCK_FILE}.damaged; {origin}")


def cache(say: Callable[[str], None], folder: Path, thorough: bool) -> list[str]:
    """Remove objects of a cache folder whose bytes are not those that they are named after; returns their names.

    `thorough` reads all of them, else only those that changed since they were last read.
    """
    known = _verified()
    seen: dict[str, list[int]] = {}
    removed = []
    for path in sorted(folder.glob("[0-9a-f][0-9a-f]/*")):
        name, stat = path.parent.name + path.name, path.stat()
        mark = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        if len(name.removesuffix(".dir")) != 32 or not path.is_file():
            continue
        if thorough or known.get(name) != mark:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            if digest != name.removesuffix(".dir"):
                path.unlink()
                removed.append(name)
                say(f"DVC's cache: object {name} was damaged and is removed; it is fetched or made again")
                continue
        seen[name] = mark
    if seen != known:
        storage.write_json(VERIFIED, seen)
    return removed


def run_cache(say: Callable[[str], None], cache_of_runs: Path) -> None:
    """Remove entries of the run cache, a folder, that are no YAML: DVC would stop at them, and can do without."""
    for path in sorted(cache_of_runs.glob("??/*/*")):
        try:
            whole = isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)
        except (ValueError, yaml.YAMLError):
            whole = False
        if not whole:
            path.unlink()
            say(f"DVC's run cache: entry {path.name} cannot be read and is removed")
    # DVC cannot do with an empty folder either, which it leaves when it removes such an entry itself
    for folder in cache_of_runs.glob("??/*"):
        if not any(folder.iterdir()):
            folder.rmdir()


def _verified() -> dict[str, list[int]]:
    try:
        return json.loads(VERIFIED.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def look_around(say: Callable[[str], None]) -> tuple[list[dvc_graph.Stage], dict[str, str]]:
    """The stages and what changed, as dvc_graph tells them, after DVC's own files were put right. Raises GraphError.

    Nothing else may run DVC here: the flow holds its lock.
    """
    path_locks(say)
    objects, runs = dvc_graph.stores()
    run_cache(say, runs)
    removed = cache(say, objects, thorough=False)
    try:
        stages = dvc_graph.stages()
    except GraphError as error:
        if str(LOCK_FILE) not in str(error) or not LOCK_FILE.exists():
            raise
        lock_file(say)
        stages = dvc_graph.stages()
    try:
        changed = dvc_graph.status()
    except GraphError as error:
        if str(LOCK_FILE) in str(error):
            lock_file(say)
        elif not cache(say, objects, thorough=True):
            raise
        changed = dvc_graph.status()
    # something will be taken from the cache, or may be: now its bytes count
    if changed:
        removed += cache(say, objects, thorough=True)
    if removed and dvc_graph.lacks_only_cache():
        # the outputs are there: what was removed is had from them, no stage needs to run
        subprocess.run([sys.executable, "-m", "dvc", "commit", "-q", "-f"], capture_output=True, check=True)
    if removed:
        changed = dvc_graph.status()
    return stages, changed


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def main() -> int:
    try:
        _, changed = look_around(_say)
        cache(_say, dvc_graph.stores()[0], thorough=True)
    except GraphError as error:
        print(f"mend: {error}", file=sys.stderr)
        return 1
    print(f"DVC's files are whole; changed stages: {', '.join(changed) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
