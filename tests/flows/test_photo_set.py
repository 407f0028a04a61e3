"""What counts as a change of the photos, in folders and in a bucket."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import params
from flows import photo_set
from flows.photo_set import PhotoSetError, look
from tests.tiny import tiny_params


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose source `mine` holds three photos (their bytes are never decoded)."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine/a.jpg", "mine/deep/b.PNG", "mine/c.webp"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(name.encode())
    age("mine")
    sections = tiny_params()
    sections["ingest"]["sources"] = ["builtin", "mine"]
    Path("params.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")
    return tmp_path


def age(folder: str, seconds: float = 60) -> None:
    """Let all files be older than a tick."""
    for path in Path(folder).rglob("*"):
        os.utime(path, (path.stat().st_atime - seconds, path.stat().st_mtime - seconds))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a real S3 server with the bucket `photos`."""
    from moto.server import ThreadedMotoServer

    from components.storage import s3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        s3.ATTEMPTS_VARIABLE: "1",
    }.items():
        monkeypatch.setenv(name, value)
    client = s3.connect("photos")
    client.create_bucket(Bucket="photos")
    yield client
    server.stop()


def test_a_photo_that_came_went_or_changed_is_a_change_and_nothing_else_is(place: Path) -> None:
    first = look("mine")
    assert (first.photos, first.size_bytes) == (3, 10 + 15 + 11)
    # nothing of it is a photo
    Path("mine/notes.txt").write_text("x")
    Path("mine/.hidden.jpg").write_text("x")
    # another time of change, another place: the same photos
    os.utime("mine/a.jpg")
    shutil.copytree("mine", "copy")
    assert look("mine") == first == look("copy")

    Path("mine/d.jpg").write_bytes(b"d")
    more = look("mine")
    assert more.photos == 4 and more.digest != first.digest
    Path("mine/d.jpg").unlink()
    assert look("mine") == first
    # same size, same time of change to the second: content counts
    Path("mine/a.jpg").write_bytes(b"MINE/a.jpg")
    assert look("mine").digest != first.digest
    Path("mine/a.jpg").write_bytes(b"mine/a.jpg")
    Path("mine/a.jpg").rename("mine/z.jpg")
    assert look("mine").digest != first.digest
    Path("mine/z.jpg").rename("mine/a.jpg")
    Path("mine/SOURCES.csv").write_text("file,scene,objects,caption\n")
    described = look("mine")
    assert described.photos == 3 and described.digest != first.digest


def test_unchanged_content_is_read_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = look("mine")
    reads: list[object] = []
    true_digest = photo_set.hashlib.file_digest

    def counted(*given):
        reads.append(given)
        return true_digest(*given)

    monkeypatch.setattr(photo_set.hashlib, "file_digest", counted)
    assert look("mine") == first
    assert not reads
    # too young to be trusted: it may change again within the same tick of the file system's clock
    Path("mine/d.jpg").write_bytes(b"1")
    first_bytes = look("mine")
    state = Path("mine/d.jpg").stat()
    Path("mine/d.jpg").write_bytes(b"2")
    os.utime("mine/d.jpg", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert look("mine").digest != first_bytes.digest


def test_an_empty_source_is_an_empty_set_and_a_missing_one_is_one_line(place: Path) -> None:
    Path("none").mkdir()
    assert look("none").photos == 0
    with pytest.raises(PhotoSetError, match="gone: no folder gone") as failure:
        look("gone")
    assert "\n" not in str(failure.value)


def test_a_bucket_counts_by_its_listing_and_nothing_is_fetched(bucket: Any, place: Path) -> None:
    for name in ("set/a.jpg", "set/b.png", "set/.x/c.jpg", "set/notes.txt", "other/d.jpg"):
        bucket.put_object(Bucket="photos", Key=name, Body=name.encode())
    first = look("s3://photos/set")
    assert first.photos == 2
    assert look("s3://photos/set/").digest == first.digest
    bucket.put_object(Bucket="photos", Key="other/e.jpg", Body=b"e")
    bucket.put_object(Bucket="photos", Key="set/a.jpg", Body=b"set/a.jpg")
    assert look("s3://photos/set") == first
    bucket.put_object(Bucket="photos", Key="set/a.jpg", Body=b"SET/a.jpg")
    assert look("s3://photos/set").digest != first.digest
    assert not Path("work/s3").exists()
    assert look("s3://photos/empty").photos == 0
    with pytest.raises(PhotoSetError, match="there is no bucket 'nowhere'"):
        look("s3://nowhere/set")


def test_what_dvc_cannot_see_is_written_down_and_left_alone_when_it_is_the_same(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert photo_set.main() == 0
    written = json.loads(photo_set.WRITTEN.read_text(encoding="utf-8"))
    # the built-in photos are a dependency of their own
    assert list(written) == ["mine"] and written["mine"]["photos"] == 3
    before = photo_set.WRITTEN.stat().st_mtime_ns
    assert photo_set.refresh() is False
    assert photo_set.WRITTEN.stat().st_mtime_ns == before
    Path("mine/e.jpg").write_bytes(b"e")
    assert photo_set.refresh() is True
    shutil.rmtree("mine")
    capsys.readouterr()
    assert photo_set.main() == 1
    assert "mine: no folder mine" in capsys.readouterr().err
    Path("params.yaml").unlink()
    assert photo_set.main() == 2


def test_the_repository_depends_on_it_and_has_it() -> None:
    """The file must be there in a fresh clone, and say what the committed parameters say."""
    from tests.tiny import REPOSITORY

    graph = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))
    assert photo_set.WRITTEN.as_posix() in graph["stages"]["ingest"]["deps"]
    listed = params.read_file(REPOSITORY / "params.yaml")["ingest"]["sources"]
    assert list(json.loads((REPOSITORY / photo_set.WRITTEN).read_text())) == photo_set.external(listed)
