"""Objects of an S3 bucket as local files: listed, fetched whole or not at all, kept by their ETag.

Endpoint, region and credentials come from the environment or ~/.aws as boto3 reads them (AWS_ENDPOINT_URL_S3,
AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID ...). Attempts per request: AWS_MAX_ATTEMPTS, 5 if unset. Seconds without a byte
after which a connection counts as dead: RNR_S3_TIMEOUT_S, 30 if unset.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from components.storage import whole_file

SCHEME = "s3://"
CACHE = Path("work/s3")
ATTEMPTS_VARIABLE, ATTEMPTS = "AWS_MAX_ATTEMPTS", 5
TIMEOUT_VARIABLE, TIMEOUT_S = "RNR_S3_TIMEOUT_S", 30.0
FIRST_PAUSE_S = 0.25  # between two attempts at a body; doubles
CHUNK_BYTES = 1 << 20
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
PLAIN_MD5 = re.compile(r"[0-9a-f]{32}")  # an object uploaded in parts, or encrypted, has another kind of ETag
CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or ~/.aws/credentials)"
# Error codes of S3 (API reference, "Error responses"); a request without a body has the bare HTTP status.
REFUSED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled", "401"}
EXPIRED = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestTimeTooSkewed"}
ELSEWHERE = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}


class S3Error(RuntimeError):
    """A bucket cannot be read; one line with the bucket, what is wrong and what helps. Never holds a secret."""


@dataclass(frozen=True)
class Object:
    """One object of a listing; `etag` as S3 writes it, in quotes."""

    key: str
    size: int
    etag: str


def split_address(address: str) -> tuple[str, str]:
    """s3://bucket/some/prefix -> ("bucket", "some/prefix/"): a prefix is a folder. Raises S3Error."""
    bucket, _, prefix = address.removeprefix(SCHEME).partition("/")
    if "@" in bucket:
        # the address itself may hold a secret: it is not repeated
        raise S3Error(f"an S3 source is s3://BUCKET/PREFIX without any credentials; put them into {CREDENTIALS}")
    if not BUCKET.fullmatch(bucket):
        raise S3Error(f"{address}: {bucket!r} is no name of a bucket; write s3://BUCKET/PREFIX")
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


def connect(bucket: str) -> Any:
    """A boto3 client as the environment wants it; `bucket` is for messages only. Raises S3Error."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, PartialCredentialsError

    attempts, timeout = int(_number(ATTEMPTS_VARIABLE, ATTEMPTS)), _number(TIMEOUT_VARIABLE, TIMEOUT_S)
    retries: Any = {"mode": "standard", "total_max_attempts": max(1, attempts)}
    try:
        # a session of its own: boto3's default one keeps the first credentials that it saw
        session = boto3.Session()
        return session.client("s3", config=Config(retries=retries, connect_timeout=timeout, read_timeout=timeout))
    except PartialCredentialsError:
        raise S3Error(f"{SCHEME}{bucket}: half of the credentials is missing; set {CREDENTIALS}") from None
    except (BotoCoreError, ValueError) as error:
        # the text of these errors may repeat what stands in the environment
        raise S3Error(
            f"{SCHEME}{bucket}: S3 cannot be set up ({type(error).__name__}); check AWS_ENDPOINT_URL "
            "(http://HOST:PORT), AWS_PROFILE and ~/.aws/config"
        ) from None


def _number(variable: str, default: float) -> float:
    text = os.environ.get(variable, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = 0.0
    # also refuses nan
    if not 0 < value < float("inf"):
        raise S3Error(f"{variable}: expected a number above 0, found {text!r}; unset it for {default:g}")
    return value


def list_objects(client: Any, bucket: str, prefix: str) -> list[Object]:
    """Every object below `prefix`, sorted by key. Raises S3Error."""
    with _explained(client, bucket):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [Object(o["Key"], o["Size"], o["ETag"]) for page in pages for o in page.get("Contents", [])]
    return sorted(found, key=lambda item: item.key)


def fetch(client: Any, bucket: str, item: Object, cache: Path = CACHE) -> Path:
    """The object as a local file; one that lies in the cache unchanged is not fetched again.

    What arrives is checked for its length and, where the ETag is one, its MD5; a broken connection is tried again
    with growing pauses. Raises S3Error.
    """
    # a key may hold anything ("../", 1024 bytes): the file is named by a digest
    name = hashlib.sha256(f"{item.key}\0{item.etag}\0{item.size}".encode()).hexdigest()[:32]
    path = cache / bucket / f"{name}{PurePosixPath(item.key).suffix.lower()}"
    if _is_kept(path, item):
        return path
    attempts = client.meta.config.retries["total_max_attempts"]
    for attempt in range(1, attempts + 1):
        with _explained(client, bucket, item.key):
            reason = _download(client, bucket, item, path)
        if reason is None:
            return path
        if attempt < attempts:
            time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
    raise S3Error(
        f"{SCHEME}{bucket}/{item.key}: {reason}, {attempts} times; check the connection to {_endpoint(client)} and run "
        "again, what was fetched is kept"
    )


def _is_kept(path: Path, item: Object) -> bool:
    """Whether the cache has the object as it was stored; a disk may have lost some of it since."""
    if not path.is_file() or path.stat().st_size != item.size:
        return False
    etag = item.etag.strip('"')
    if not PLAIN_MD5.fullmatch(etag):
        return True
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == etag


def _download(client: Any, bucket: str, item: Object, path: Path) -> str | None:
    """One attempt: None when `path` holds the object, else what went wrong with its body."""
    from botocore.exceptions import FlexibleChecksumError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError

    # outside of the try: botocore has retried this request already
    body = client.get_object(Bucket=bucket, Key=item.key, IfMatch=item.etag)["Body"]
    digest, size = hashlib.md5(usedforsecurity=False), 0
    try:
        with whole_file(path) as part, contextlib.closing(body), open(part, "wb") as file:
            for chunk in body.iter_chunks(CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            etag = item.etag.strip('"')
            if size != item.size:
                raise _BrokenBody(f"{size} of {item.size} bytes arrived")
            if PLAIN_MD5.fullmatch(etag) and digest.hexdigest() != etag:
                raise _BrokenBody("the bytes that arrived are not those that were stored (MD5)")
    except _BrokenBody as error:
        return str(error)
    except (IncompleteReadError, ResponseStreamingError):
        return f"the connection broke after {size} of {item.size} bytes"
    except ReadTimeoutError:
        return f"no byte came any more after {size} of {item.size} bytes"
    except FlexibleChecksumError:
        return "the bytes that arrived are not those that were stored (checksum)"
    return None


class _BrokenBody(Exception):
    """Leaves `whole_file` without a file."""


def _endpoint(client: Any) -> str:
    """Host and port only: a URL may hold a password."""
    parts = urlsplit(client.meta.endpoint_url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


@contextlib.contextmanager
def _explained(client: Any, bucket: str, key: str = "") -> Iterator[None]:
    """Whatever boto3 raises becomes an S3Error of one line."""
    from botocore import exceptions as b

    where, endpoint = f"{SCHEME}{bucket}{'/' * bool(key)}{key}", _endpoint(client)
    try:
        yield
    except b.ClientError as error:
        raise S3Error(f"{where}: {_of_code(str(error.response['Error'].get('Code', '')), bucket, endpoint)}") from None
    except (b.NoCredentialsError, b.CredentialRetrievalError, b.TokenRetrievalError):
        raise S3Error(f"{where}: no credentials for {endpoint}; set {CREDENTIALS}") from None
    except (b.ConnectionError, b.HTTPClientError) as error:
        reason = "does not answer in time" if "Timeout" in type(error).__name__ else "cannot be reached"
        raise S3Error(f"{where}: {endpoint} {reason}; check AWS_ENDPOINT_URL and the network") from None
    except b.BotoCoreError as error:
        raise S3Error(f"{where}: the request failed ({type(error).__name__}); check the AWS settings") from None


def _of_code(code: str, bucket: str, endpoint: str) -> str:
    """What an error code of S3 means and what helps."""
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket!r} at {endpoint}; check ingest.sources and AWS_ENDPOINT_URL"
    if code in REFUSED:
        return f"{endpoint} refuses access ({code}); check {CREDENTIALS}, and that they may list and read this bucket"
    if code in EXPIRED:
        return f"the credentials are not valid now ({code}); renew them, and check this machine's clock"
    if code in ELSEWHERE:
        return f"the bucket lies in another region ({code}); set AWS_DEFAULT_REGION"
    if code in {"412", "PreconditionFailed", "404", "NoSuchKey"}:
        return "the object was changed or removed while it was read; run again"
    return f"{endpoint} answers {code or 'an error'} again and again; run again later"
