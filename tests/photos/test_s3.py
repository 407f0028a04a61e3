"""Photos from an S3 bucket, over HTTP: a real server, a proxy that breaks, and every way to be refused."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.photos import ingest as stage
from components.photos import sources
from components.storage import s3
from tests.photos.faulty_proxy import FaultyProxy
from tests.photos.test_ingest import all_rows, picture, place, shard_bytes, write_params

__all__ = ["place"]  # a fixture
KEY, SECRET = "AKIAEXAMPLEEXAMPLE00", "quite-secret-word"
SOURCE = "s3://photos-bucket/holiday"
CSV = "file,scene,objects,caption\n03.png,coast,sea; rock,A sea.\ngone.png,,,\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """The port of a moto server that lists three keys a page, so that a handful of objects needs several."""
    port = free_port()
    # credentials must not matter to the server itself, whatever the tests do to the environment
    environment = {**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": "3", "AWS_DEFAULT_REGION": "us-east-1"}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def told_to_server(port: int, path: str, body: bytes = b"") -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/moto-api/{path}", body, {"Content-Type": "text/plain"})
    with urllib.request.urlopen(request, timeout=20):
        pass


@pytest.fixture
def proxy(server: int, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """The bucket with ten photos behind the proxy; parameters that name it as the only source; quick timeouts."""
    faulty = FaultyProxy(server)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": str(place / "no-credentials"),
        "AWS_CONFIG_FILE": str(place / "no-config"),
        "NO_PROXY": "127.0.0.1",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server}",
        s3.ATTEMPTS_VARIABLE: "3",
        s3.TIMEOUT_VARIABLE: "0.6",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3, "FIRST_PAUSE_S", 0.01)
    told_to_server(server, "reset")
    client = s3.connect("photos-bucket")
    client.create_bucket(Bucket="photos-bucket")
    for seed in range(10):
        client.put_object(Bucket="photos-bucket", Key=f"holiday/{seed:02d}.png", Body=png(seed))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", faulty.url)
    write_params(sources=[SOURCE])
    yield faulty
    faulty.shutdown()
    faulty.server_close()


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, "PNG")
    return buffer.getvalue()


def put(port: int, monkeypatch: pytest.MonkeyPatch, objects: dict[str, bytes]) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
        client: Any = s3.connect("photos-bucket")
        for key, body in objects.items():
            client.put_object(Bucket="photos-bucket", Key=key, Body=body)


def cached() -> list[Path]:
    return sorted(path for path in Path("work").rglob("*") if path.is_file())


def test_a_prefix_is_read_as_a_folder_is(
    proxy: FaultyProxy, server: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {f"holiday/{name}": b"x" for name in (".hidden.png", ".thumbs/a.png", "notes.txt", "empty/")}
    escaping = {"holiday/../../../escape.png": png(20), "holiday/sub/30.PNG": png(30)}
    other = {"holiday-private/40.png": png(40), "holiday/SOURCES.csv": CSV.encode()}
    put(server, monkeypatch, more | escaping | other)
    write_params(sources=[SOURCE, "more"])
    (place / "more").mkdir()
    picture(50).save(place / "more/50.png")
    assert stage.main() == 0
    rows = all_rows().set_index("name")
    assert sorted(rows.index) == [*(f"{seed:02d}.png" for seed in range(10)), "30.PNG", "50.png"]
    assert set(rows["source"]) == {SOURCE, "more"}
    assert (rows.loc["03.png", "scene"], list(rows.loc["03.png", "objects"])) == ("coast", ["sea", "rock"])
    left_out = pd.read_parquet("data/clean/quarantine.parquet")
    assert left_out.to_dict("records") == [{"name": "gone.png", "source": SOURCE, "reason": "not found"}]
    # whatever a key says, files lie in the cache and nowhere else
    assert {path.parent for path in cached()} == {Path("work/s3/photos-bucket")}


def test_bytes_do_not_depend_on_the_cache_and_unchanged_objects_are_not_fetched_again(
    proxy: FaultyProxy, server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stage.main() == 0
    first = shard_bytes()
    assert len(proxy.fetched) == 10
    assert stage.main() == 0
    assert len(proxy.fetched) == 10
    shutil.rmtree("work")
    assert stage.main() == 0
    assert shard_bytes() == first
    proxy.fetched.clear()
    put(server, monkeypatch, {"holiday/04.png": png(70)})
    assert stage.main() == 0
    assert [path.split("?")[0] for path in proxy.fetched] == ["/photos-bucket/holiday/04.png"]


FAULTS = ["busy", "stall", "stall_body", "cut", "short", "truncated", "flipped"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_retried_until_all_bytes_are_there(proxy: FaultyProxy, fault: str) -> None:
    found = {item.name: item.path for item in sources.find(SOURCE)}
    whole = {name: path.read_bytes() for name, path in found.items() if path is not None}
    shutil.rmtree("work")
    proxy.fetched.clear()
    proxy.faults[:] = [fault, fault]
    again = {item.name: item.path for item in sources.find(SOURCE)}
    assert {name: path.read_bytes() for name, path in again.items() if path is not None} == whole
    assert whole["03.png"] == png(3)
    assert len(proxy.fetched) == 10 + 2
    assert len(cached()) == 10


def test_nothing_corrupt_enters_a_shard(proxy: FaultyProxy) -> None:
    assert stage.main() == 0
    first = shard_bytes()
    shutil.rmtree("work")
    proxy.faults[:] = [each for fault in FAULTS for each in (fault, "")]
    assert stage.main() == 0
    assert not proxy.faults
    assert shard_bytes() == first


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_without_end_is_one_line_and_leaves_nothing(
    proxy: FaultyProxy, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    proxy.faults[:] = [fault] * 50
    assert stage.main() == 1
    one_line(capsys, "s3://photos-bucket/holiday/00.png: ")
    assert not cached()
    assert not Path("data/clean").exists()
    assert len(proxy.fetched) == 3


def one_line(capsys: pytest.CaptureFixture[str], told: str) -> None:
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1, error
    assert SECRET not in error and KEY not in error


def test_wrong_credentials(proxy: FaultyProxy, server: int, capsys: pytest.CaptureFixture[str]) -> None:
    told_to_server(server, "reset-auth", b"0")
    try:
        assert stage.main() == 1
    finally:
        told_to_server(server, "reset-auth", b"inf")
    one_line(capsys, "refuses access (InvalidAccessKeyId); check AWS_ACCESS_KEY_ID")
    assert not Path("data/clean").exists() and not Path("data/ledger.csv").exists()


@pytest.mark.parametrize(
    ("changes", "source", "told"),
    [
        ({}, "s3://no-such-bucket/a", "there is no bucket 'no-such-bucket' at 127.0.0.1:"),
        ({}, "s3://photos-bucket/nothing", "s3://photos-bucket/nothing: no photo below this prefix"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, SOURCE, "no credentials for 127.0.0.1:"),
        ({"AWS_SECRET_ACCESS_KEY": None}, SOURCE, "s3://photos-bucket: half of the credentials is missing; set AWS_"),
        ({"AWS_ENDPOINT_URL_S3": "http://user:quite-secret-word@127.0.0.1:9"}, SOURCE, "127.0.0.1:9 cannot be reached"),
        ({"AWS_ENDPOINT_URL_S3": "127.0.0.1:9"}, SOURCE, "check AWS_ENDPOINT_URL (http://HOST:PORT)"),
        ({"AWS_PROFILE": "nobody"}, SOURCE, "check AWS_ENDPOINT_URL (http://HOST:PORT), AWS_PROFILE"),
        ({s3.TIMEOUT_VARIABLE: "soon"}, SOURCE, "RNR_S3_TIMEOUT_S: expected a number above 0, found 'soon'"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    proxy: FaultyProxy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str | None],
    source: str,
    told: str,
) -> None:
    for name, value in changes.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    monkeypatch.setenv(s3.ATTEMPTS_VARIABLE, "1")
    write_params(sources=[source])
    assert stage.main() == 1
    one_line(capsys, told)
    assert not Path("data/clean").exists() and not cached()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("s3://", "'' is no name of a bucket"),
        ("s3://My_Photos/a", "'My_Photos' is no name of a bucket; write s3://BUCKET/PREFIX"),
        (f"s3://{KEY}:{SECRET}@bucket/a", "without any credentials; put them into AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_wrong_address_exits_2(place: Path, capsys: pytest.CaptureFixture[str], source: str, told: str) -> None:
    write_params(sources=[source])
    assert stage.main() == 2
    one_line(capsys, told)


def test_address() -> None:
    assert s3.split_address("s3://my.bucket") == s3.split_address("s3://my.bucket/") == ("my.bucket", "")
    assert s3.split_address("s3://bucket/a/b") == s3.split_address("s3://bucket/a/b/") == ("bucket", "a/b/")


def test_all_pages_are_listed(proxy: FaultyProxy) -> None:
    listed = s3.list_objects(s3.connect("photos-bucket"), "photos-bucket", "holiday/")
    assert [item.key for item in listed] == [f"holiday/{seed:02d}.png" for seed in range(10)]
