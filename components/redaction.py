"""Secrets out of text: before a log line, a tag in MLflow or an error message leaves this process.

    from components import redaction
    redaction.install()                                  # once, at the start of a command: logs and tracebacks
    redaction.redact("cannot open s3://me:pass@host/x")  # cannot open s3://***@host/x

A secret is the value of an environment variable whose name says so (AWS_SECRET_ACCESS_KEY, PREFECT_API_KEY), the
password inside any address there, and whatever has the shape of a well-known key. Values of fewer than LEAST
characters are not looked for: they would be found in every other word.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus, unquote

MASK = "***"
LEAST = 6  # characters
SECRET_NAME = re.compile(
    r"PASSW(OR)?D|PASSPHRASE|SECRET|CREDENTIAL|CONNECTION_STRING"
    r"|(^|_)(KEYS?|ACCESS_?KEY|API_?KEY|TOKEN|PASS|PAT|AUTH|AUTHORIZATION|DSN)(_|$)",
    re.IGNORECASE,
)
# names like those above whose values are places or switches
NO_SECRET = re.compile(
    r"_(FILE|PATH|DIR|SOCK|HOST|URL|URI|EXPIRATION)$|^GOOGLE_APPLICATION_CREDENTIALS$", re.IGNORECASE
)
ADDRESS = re.compile(r"://([^/\s]*)@")
SHAPES = [
    (ADDRESS, f"://{MASK}@"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"(?i)(authorization[\"']?\s*[=:]\s*[\"']?(?:basic|bearer|token)\s+)[^\s\"',;]{6,}"), rf"\1{MASK}"),
    (re.compile(r"\b(Bearer\s+)[A-Za-z0-9._~+/=-]{16,}"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(x-amz-(?:signature|credential|security-token)=)[^&\s\"']+"), rf"\1{MASK}"),
    (
        re.compile(
            r"(?i)((?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?)"
            r"[\"']?\s*[=:]\s*[\"']?)(?!\*\*\*)[^\s\"',;&)}\]]{6,}"
        ),
        rf"\1{MASK}",
    ),
    # keys that carry their issuer: AWS, OpenAI, Prefect, GitHub, Hugging Face, JSON web tokens
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), MASK),
    (re.compile(r"\b(?:sk-|pn[ub]_|gh[pousr]_|hf_)[A-Za-z0-9_-]{16,}"), MASK),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), MASK),
]


def redact(text: object) -> str:
    """The text with every secret of the environment, and all that looks like one, replaced by MASK."""
    cleaned = str(text)
    known = _known(tuple(os.environ.items()))
    if known:
        cleaned = known.sub(MASK, cleaned)
    for shape, instead in SHAPES:
        cleaned = shape.sub(instead, cleaned)
    return cleaned


def redact_all(value: Any) -> Any:
    """`redact` for every text in a value of dictionaries and lists; keys and all else stay as they are."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redact_all(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_all(inner) for inner in value]
    return value


def secrets(environment: Mapping[str, str]) -> set[str]:
    """The secret values in an environment: those of telling names, and the passwords inside addresses."""
    found = set()
    for name, value in environment.items():
        if is_secret(name):
            found.add(value.strip())
        for user in ADDRESS.findall(value):
            # user:password, or a token alone
            secret = user.partition(":")[2] or user
            found |= {secret, unquote(secret)}
    return {value for value in found if len(value) >= LEAST and value.lower() not in ("false", "default")}


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    return bool(SECRET_NAME.search(name)) and not NO_SECRET.search(name)


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for a child that needs no service: variables that hold secrets are left out."""
    return {k: v for k, v in environment.items() if not is_secret(k) and not ADDRESS.search(v)}


@functools.lru_cache(maxsize=4)
def _known(environment: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    """A pattern of all secrets of an environment, in the spellings that logs use."""
    spelt = set[str]()
    for value in secrets(dict(environment)):
        spelt |= {
            value,
            quote(value, safe=""),
            quote(value),
            quote_plus(value),
            json.dumps(value)[1:-1],
            repr(value)[1:-1],
        }
    # the longest first: a secret may be the beginning of another
    return re.compile("|".join(re.escape(value) for value in sorted(spelt, key=len, reverse=True))) if spelt else None


def install() -> None:
    """From now on no log record and no last traceback of this process holds a secret, whichever library writes it."""
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return

    def redacting(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        clean_record(record)
        return record

    redacting.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(redacting)
    sys.excepthook = _last_words


def clean_record(record: logging.LogRecord) -> None:
    """Take the secrets out of a record's message, arguments and traceback."""
    if isinstance(record.args, tuple):
        # some formatters read the arguments themselves (uvicorn's access log)
        record.args = tuple(redact(value) if isinstance(value, str) else value for value in record.args)
    try:
        said = record.getMessage()
    except (TypeError, ValueError):
        # arguments that do not fit: logging itself will say so
        return
    cleaned = redact(said)
    if cleaned != said:
        record.msg, record.args = cleaned, ()
    if isinstance(record.exc_info, tuple) and record.exc_info[0]:
        told = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        if redact(told) != told:
            # formatters take this text where it is set, and do not make their own
            record.exc_text = redact(told)


def _last_words(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    print(redact("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr, flush=True)
