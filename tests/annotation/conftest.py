"""A folder with pairs in which the annotate stage runs as a command against an endpoint of the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.annotation.stand_in import truth_of
from tests.tiny import empty_store, environment, write_params

KEY = "sk-test-5ecret+Key/0123456789"
MODULE = "components.annotation.annotate"


class Desk:
    """A folder of its own with the pairs of the workspace."""

    def __init__(self, folder: Path, workspace: Path) -> None:
        self.folder, self.workspace = folder, workspace
        (folder / "data").mkdir(parents=True)
        (folder / "data/pairs").symlink_to(workspace / "data/pairs")
        shutil.copy(empty_store(), folder / "mlflow.db")

    def ask(self, url: str, **changes: object) -> None:
        """Write params.yaml for the asked teacher."""
        given = {"teacher": "openai", "endpoint": url, "model": "stand-in", "timeout_s": 1.0, "max_retries": 2}
        write_params(self.folder, annotate={**given, **changes})

    def start(self, **variables: str) -> subprocess.Popen[str]:
        env = {k: v for k, v in environment().items() if k not in ("OPENAI_API_KEY", "RNR_TEACHER_API_KEY")}
        return subprocess.Popen(
            [sys.executable, "-m", MODULE], cwd=self.folder, env={**env, "RNR_TEACHER_API_KEY": KEY, **variables},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, patience_s: float = 300, **variables: str) -> subprocess.CompletedProcess[str]:
        process = self.start(**variables)
        try:
            out, err = process.communicate(timeout=patience_s)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def shards(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.folder / "data/annotations").glob("*.parquet"))}

    def journal(self) -> Path | None:
        return next(iter(self.folder.glob("work/annotate/*/answers.jsonl")), None)

    def journaled(self) -> list[str]:
        """Whole lines of the journal."""
        path = self.journal()
        return path.read_text().split("\n")[:-1] if path else []

    def files_with(self, secret: bytes) -> list[str]:
        """Every file of this folder that holds a secret."""
        found = []
        for top, _, names in os.walk(self.folder):
            found += [str(Path(top, name)) for name in names if secret in Path(top, name).read_bytes()]
        return found


@pytest.fixture
def desk(workspace: Path, tmp_path: Path) -> Desk:
    return Desk(tmp_path / "desk", workspace)


@pytest.fixture(scope="session")
def truth(workspace: Path) -> dict[str, tuple[str, list[float]]]:
    return truth_of(workspace)
