"""A person who types the printed commands into a terminal, with others for what goes on until it is ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.printed import GO_ON, NEEDS, entry

# the first `prefect server start` makes its database; all of this beside other work
PATIENCE_S = 300.0
# exit codes other than 0 that are right in the state in which the copy is, with what must then be said
ELSE = {
    "rnr rollback": "the first champion",
    "rnr promote --dry-run": "refused",
    # the machine that runs this may lack something: that it says so is its task
    "rnr doctor": "fail",
}


def listening(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Person:
    """`at_work`: what was started and goes on, by its entry in GO_ON."""

    folder: Path
    environment: dict[str, str]
    at_work: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def type(self, command: str) -> str:
        """Run a command; what went wrong, or nothing."""
        needed = entry(NEEDS, command)
        for other in list(self.at_work):
            if other != needed:
                self.end(other)
        if needed and needed not in self.at_work and (failed := self.start(needed, needed)):
            return f"{needed}: {failed}"
        name = next((start for start in GO_ON if entry({start: 1}, command)), None)
        if name and name in self.at_work:
            return ""
        return self.start(name, command) if name else self.finish(command)

    def finish(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment | self.server(command) | self.path(command),
            capture_output=True,
            text=True,
            check=False,
        )
        said = (done.stdout + done.stderr).strip()
        otherwise = entry(ELSE, command)
        if done.returncode == 0 or (done.returncode == 1 and otherwise and otherwise in said.lower()):
            return ""
        return f"exit code {done.returncode}: {said[-1500:]}"

    def server(self, command: str) -> dict[str, str]:
        """What docs/operations.md exports in the terminals of `rnr deploy`, `rnr worker` and `rnr watch`."""
        if entry(NEEDS, command) != "prefect server start":
            return {}
        return {"PREFECT_API_URL": f"http://127.0.0.1:{GO_ON['prefect server start']}/api"}

    def path(self, command: str) -> dict[str, str]:
        """Programs of the environment are found without their folder only after `source .venv/bin/activate`."""
        if not command.startswith((".venv/", "make")):
            return {}
        folders = self.environment["PATH"].split(os.pathsep)
        return {"PATH": os.pathsep.join(folder for folder in folders if Path(folder) != Path(sys.executable).parent)}

    def start(self, name: str, command: str) -> str:
        """Start what goes on, and wait until it can be seen to be at work."""
        sign = GO_ON[name]
        if isinstance(sign, int) and listening(sign):
            return f"port {sign}, which the printed command uses, is taken on this machine"
        log = self.folder / "work" / f"{name.replace(' ', '-')}.log"
        log.parent.mkdir(exist_ok=True)
        with open(log, "wb") as said:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self.environment | self.server(command) | self.path(command),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self.at_work[name] = process
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            told = log.read_text(encoding="utf-8", errors="replace")
            if process.poll() is not None:
                return f"ended with exit code {process.returncode}: {told[-1500:]}"
            if listening(sign) if isinstance(sign, int) else str(sign) in told:
                return ""
            time.sleep(0.3)
        return f"no sign of life ({sign}) within {PATIENCE_S:g} s: {told[-1500:]}"

    def end(self, name: str) -> None:
        """As Ctrl+C does, which reaches everything that the terminal started."""
        process = self.at_work.pop(name)
        for number, seconds in ((signal.SIGINT, 60), (signal.SIGKILL, 10)):
            try:
                os.killpg(process.pid, number)
                process.wait(seconds)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue

    def leave(self) -> None:
        for name in list(self.at_work):
            self.end(name)
