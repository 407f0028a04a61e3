"""Clients that no library would be: cut-off and endless uploads, heads in drips, bombs, and many at once."""

from __future__ import annotations

import io
import json
import socket
import struct
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.serving.endpoint import Served, photo, serving

HEAD = "POST /v1/diagnose HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
PART = '--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'


def answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    """Status and problem document of whatever the server says before it closes."""
    said = b""
    while piece := connection.recv(65536):
        said += piece
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, said
    return int(head.split()[1]), json.loads(body)


def test_an_upload_that_is_cut_off_gets_a_reason_where_somebody_listens(served: Served) -> None:
    with served.connect() as client:
        client.sendall(f"{HEAD}Content-Length: 100000\r\n\r\n{PART}".encode() + bytes(5000))
        time.sleep(0.2)
        client.shutdown(socket.SHUT_WR)
        status, told = answer(client)
    assert (status, told["detail"]) == (400, "the upload was cut off")


def test_clients_that_vanish_leave_their_places(served: Served) -> None:
    for _ in range(40):
        with served.connect() as client:
            client.sendall(f"{HEAD}Content-Length: 100000\r\n\r\n{PART}".encode() + bytes(5000))
            # a reset instead of an end
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    deadline = time.monotonic() + 60
    while served.metric("rnr_places_taken") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert served.metric("rnr_places_taken") == 0
    assert served.post("/v1/diagnose", photo()).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 TLS to a plain port\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"a" * 100_000,
        b"POST /v1/diagnose HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\n",
        b"POST /v1/diagnose HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_told_so(served: Served, sent: bytes) -> None:
    with served.connect() as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        status, told = answer(client)
    assert (status, told["type"]) == (400, "urn:reason-and-restore:problem:malformed-request")


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims to be large, of few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def frames(count: int) -> bytes:
    """A GIF of one pixel and many frames."""
    buffer = io.BytesIO()
    Image.new("P", (1, 1)).save(buffer, "GIF")
    whole = buffer.getvalue()
    start = whole.index(b",")
    return whole[:start] + whole[start:-1] * count + b";"


def test_hostile_photos_cost_neither_memory_nor_time(served: Served) -> None:
    text = b"tEXtComment\x00" + b"a" * 1_000_000
    packed = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    chatty = photo("PNG")
    hostile = {
        "huge": bomb(2**31 - 1, 2**31 - 1),
        "wide": bomb(50_000_001, 1),
        "torn": bomb(7000, 7000),
        "no pixels": bomb(0, 10),
        "chatty": chatty[:33] + packed * 20 + chatty[33:-500],
        "jpeg head": photo("JPEG")[:300],
        "zeros": bytes(1_000_000),
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }
    memory = served.metric("process_resident_memory_bytes")
    for name, data in hostile.items():
        for path in ("/v1/diagnose", "/v1/restore"):
            refused = served.post(path, data)
            assert refused.status_code in (413, 415, 422), (name, refused.text)
            assert refused.json()["detail"].startswith("image: "), name
    began = time.monotonic()
    assert served.post("/v1/diagnose", frames(200_000)).json()["notes"] == [
        "more than one picture in the file: only the first is used"
    ]
    assert time.monotonic() - began < 30
    assert served.metric("process_resident_memory_bytes") - memory < 400e6
    assert "Traceback" not in served.log.read_text(encoding="utf-8")


@pytest.mark.slow
def test_slow_clients_are_shown_the_door_while_others_are_served(tmp_path: Path) -> None:
    """All places taken by bodies in drips, and heads in drips beside them: after the grace everyone is served again."""
    with serving(tmp_path, "--model", "pretrained", "--queue", 4) as server:
        bodies = [server.connect() for _ in range(4)]
        for client in bodies:
            client.sendall(f"{HEAD}Content-Length: 100000\r\n\r\n{PART}".encode())
        heads = [server.connect() for _ in range(4)]
        for client in heads:
            client.sendall(b"POST /v1/diagnose HTTP/1.1\r\nHost:")
        began = time.monotonic()
        while server.metric("rnr_places_taken") < 4:
            time.sleep(0.05)
        assert server.post("/v1/diagnose", photo()).status_code == 429
        while (passed := time.monotonic() - began) < 9:
            for client in (*bodies, *heads):
                client.sendall(b"a")
            time.sleep(0.5)
        for client in (*bodies, *heads):
            client.settimeout(60)
        for client in bodies:
            said = client.recv(65536)
            assert said.startswith(b"HTTP/1.1 408"), said
        for client in heads:
            status, told = answer(client)
            assert (status, told["type"]) == (408, "urn:reason-and-restore:problem:slow-upload")
        assert 9 <= passed < 30
        assert server.post("/v1/diagnose", photo()).status_code == 200
        # and who was refused in the midst of a body may not hold the connection for ever
        for client in bodies:
            while client.recv(65536):  # what came after the head, then the end
                pass


@pytest.mark.slow
def test_many_large_uploads_stay_within_the_memory_that_the_manual_names(tmp_path: Path) -> None:
    """Twice as many clients as places send 24 MiB each and stop before the end; then they are let go."""
    size = 24 * 2**20
    with serving(tmp_path, "--model", "pretrained", "--queue", 8) as server:
        server.post("/v1/restore", photo(), edit="noise=40")
        memory = server.metric("process_resident_memory_bytes")
        clients = [server.connect() for _ in range(16)]
        refused = 0
        for client in clients:
            client.settimeout(20)
            client.sendall(f"{HEAD}Content-Length: {size}\r\n\r\n{PART}".encode())
            try:
                client.sendall(bytes(size - 1000))
            # nobody reads, or the connection has been closed
            except OSError:
                refused += 1
        # a form's image lies in memory once; some more for buffers
        assert server.metric("process_resident_memory_bytes") - memory < 8 * size * 1.5
        assert server.metric("rnr_places_taken") == 8
        for client in clients:
            client.close()
        while server.metric("rnr_places_taken"):
            time.sleep(0.1)
        assert server.post("/v1/diagnose", photo()).status_code == 200
