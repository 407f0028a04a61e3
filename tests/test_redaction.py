"""What counts as a secret, in which spellings it is found, and what is left alone."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from components import redaction
from components.redaction import MASK, redact
from tests.tiny import REPOSITORY, environment

SECRET = "v3ry/S3cret+Value"


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SESSION_TOKEN",
        "OPENAI_API_KEY",
        "RNR_TEACHER_API_KEY",
        "PREFECT_API_KEY",
        "PREFECT_API_AUTH_STRING",
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_TRACKING_TOKEN",
        "PGPASSWORD",
        "HF_TOKEN",
        "AZURE_STORAGE_CONNECTION_STRING",
    ],
)
def test_values_of_telling_names_are_found_in_every_spelling(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, SECRET)
    for spelt in (SECRET, "v3ry%2FS3cret%2BValue", "v3ry/S3cret%2BValue"):
        assert redact(f"before {spelt} after") == f"before {MASK} after"


@pytest.mark.parametrize("name", ["PATH", "TOKENIZERS_PARALLELISM", "SSH_AUTH_SOCK", "MONKEY_HOUSE", "RNR_MAX_TOKENS"])
def test_other_variables_stay(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "harmless-value")
    assert redact("a harmless-value here") == "a harmless-value here"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("at postgresql+psycopg2://me:secret@db:5432/mlflow now", "at postgresql+psycopg2://***@db:5432/mlflow now"),
        ("http://a:b@c@host/x", "http://***@host/x"),
        ("Authorization: Basic bWU6c2VjcmV0", "Authorization: Basic ***"),
        ("{'Authorization': 'Bearer abcdef123456'}", "{'Authorization': 'Bearer ***'}"),
        ("https://b/k?X-Amz-Signature=0123abcd&x=1", "https://b/k?X-Amz-Signature=***&x=1"),
        ("aws_secret_access_key = abcd1234efgh", "aws_secret_access_key = ***"),
        ('{"api_key": "abcd1234efgh"}', '{"api_key": "***"}'),
        ("key AKIAIOSFODNN7EXAMPLE.", "key ***."),
        ("sk-proj-abcdefghijklmnop1234", "***"),
        ("pnu_abcdefghijklmnop1234", "***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "***"),
    ],
)
def test_shapes_of_secrets(text: str, left: str) -> None:
    assert redact(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens: 1000000 and tokenizer: Qwen3VLProcessor",
        "basic restoration of photographs",
        "s3://bucket/photos/a@2x.jpg",
        "train_reasoner: loss 0.123456 at step 100",
        "data/pairs: 9f86d081884c7d659a2feaa0c55ad015.dir",
        "models:/reason-and-restore@champion",
    ],
)
def test_what_is_no_secret_is_not_touched(text: str) -> None:
    assert redact(text) == text


def test_passwords_inside_addresses_are_found_on_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:p%40ss-w0rd@host:5000")
    assert redact("p%40ss-w0rd and p@ss-w0rd") == f"{MASK} and {MASK}"
    kept = redaction.without_secrets(
        {"MLFLOW_TRACKING_URI": "http://me:x@h", "AWS_SECRET_ACCESS_KEY": "x", "HOME": "/"}
    )
    assert kept == {"HOME": "/"}
    assert redaction.redact_all({"a": ["p@ss-w0rd", 1], "b": {"c": None}}) == {"a": [MASK, 1], "b": {"c": None}}


LOGS = """
import logging, sys
from components import redaction
redaction.install(); redaction.install()
logging.basicConfig(stream=sys.stdout, level="INFO", format="%(message)s")
secret = sys.argv[1]
logging.info("plain %s and %d", secret, 3)
logging.info({"a": secret})
logging.getLogger("any.library").warning("for " + secret)
try:
    raise RuntimeError(f"no way to http://me:{secret}@host")
except RuntimeError:
    logging.exception("it broke")
raise ValueError(secret)
"""


def test_logs_and_tracebacks_of_a_process_hold_no_secret() -> None:
    run = subprocess.run(
        [sys.executable, "-c", LOGS, "canary-4711"],
        env=environment() | {"SOME_TOKEN": "canary-4711"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "canary-4711" not in run.stdout + run.stderr
    assert "plain *** and 3\n" in run.stdout
    assert "for ***" in run.stdout
    assert "RuntimeError: no way to http://***@host" in run.stdout
    assert run.stderr.endswith("ValueError: ***\n")


def test_records_without_secrets_keep_their_arguments() -> None:
    """uvicorn's access log formats the arguments itself."""
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, "%s %s", ("GET", "/photos"), None)
    redaction.clean_record(record)
    assert (record.msg, record.args) == ("%s %s", ("GET", "/photos"))
