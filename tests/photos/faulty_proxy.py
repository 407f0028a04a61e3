"""An HTTP proxy before the S3 server of the tests that breaks on demand, as networks and stores do."""

from __future__ import annotations

import http.client
import socket
import struct
import time

from tests.local_server import LocalServer, QuietHandler

STALL_S = 2.0  # longer than the client of the tests waits


class FaultyProxy(LocalServer):
    """Passes requests on to 127.0.0.1:`port`. Each GET of an object takes the first of `faults` off the list.

    busy: answer 503. stall: no answer. stall_body: half the body, then silence. cut: half the body, then a reset.
    short: half the body, then the end. truncated: half the body, announced as if it were all. flipped: a wrong byte.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.faults: list[str] = []
        self.fetched: list[str] = []  # paths of the objects asked for, faults included
        super().__init__(Handler)


class Handler(QuietHandler):
    server: FaultyProxy

    def do_GET(self) -> None:
        fault = ""
        # a listing asks for a bucket: one slash only
        if self.path.split("?")[0].strip("/").count("/"):
            self.server.fetched.append(self.path)
            fault = self.server.faults.pop(0) if self.server.faults else ""
        if fault == "stall":
            time.sleep(STALL_S)
            self.close_connection = True
            return
        status, headers, body = self.ask()
        if fault == "busy":
            status, headers, body = 503, {}, b"<Error><Code>SlowDown</Code></Error>"
        half = len(body) // 2
        if fault == "truncated":
            body = body[:half]
        if fault == "flipped":
            body = body[:half] + bytes([body[half] ^ 255]) + body[half + 1 :]
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "server", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in ("stall_body", "cut", "short"):
            self.wfile.write(body[:half])
            self.close_connection = True
            if fault == "stall_body":
                time.sleep(STALL_S)
            if fault == "cut":  # closing with nothing to linger for sends a reset
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            return
        self.wfile.write(body)

    def ask(self) -> tuple[int, dict[str, str], bytes]:
        """The true answer."""
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        upstream.request("GET", self.path, headers=dict(self.headers))
        answer = upstream.getresponse()
        body = answer.read()
        upstream.close()
        return answer.status, dict(answer.getheaders()), body
