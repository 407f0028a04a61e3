"""Every way in which a request can fail, as RFC 9457 problem documents (application/problem+json)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
URN = "urn:reason-and-restore:problem:"


@dataclass(frozen=True)
class Kind:
    """A sort of failure: its status and what is wrong in general; the problem's `detail` says it of the case."""

    name: str
    status: int
    title: str

    @property
    def type(self) -> str:
        return URN + self.name


MALFORMED = Kind("malformed-request", 400, "The request cannot be parsed.")
UNAUTHORIZED = Kind("unauthorized", 401, "A valid bearer token is needed.")
NOT_FOUND = Kind("not-found", 404, "There is nothing at this path.")
WRONG_METHOD = Kind("method-not-allowed", 405, "This path does not know the method.")
SLOW_UPLOAD = Kind("slow-upload", 408, "The request took too long to arrive.")
TOO_MANY_BYTES = Kind("too-many-bytes", 413, "The photo's file is too large.")
TOO_MANY_PIXELS = Kind("too-many-pixels", 413, "The photo has too many pixels.")
WRONG_CONTENT_TYPE = Kind("unsupported-content-type", 415, "The body is neither a form nor JSON.")
UNKNOWN_FORMAT = Kind("unknown-photo-format", 415, "The file is no photo in a known format.")
INVALID = Kind("invalid-input", 422, "A field of the request is missing, unknown or out of range.")
UNREADABLE = Kind("unreadable-photo", 422, "The photo is damaged or of a sort that is not supported.")
BUSY = Kind("busy", 429, "Every place is taken.")
INTERNAL = Kind("internal-error", 500, "The server failed.")
STOPPING = Kind("stopping", 503, "The server is being stopped.")
LATE = Kind("waited-too-long", 503, "The request waited too long for the models.")
CROWDED = Kind("too-many-connections", 503, "The server has too many connections.")
TIMEOUT = Kind("timeout", 504, "The models took too long.")
KINDS = (
    MALFORMED, UNAUTHORIZED, NOT_FOUND, WRONG_METHOD, SLOW_UPLOAD, TOO_MANY_BYTES, TOO_MANY_PIXELS, WRONG_CONTENT_TYPE,
    UNKNOWN_FORMAT, INVALID, UNREADABLE, BUSY, INTERNAL, STOPPING, LATE, CROWDED, TIMEOUT,
)  # fmt: skip


class Problem(Exception):
    """A failure to be told to the client: its kind, one line of detail, and headers such as Retry-After."""

    def __init__(self, kind: Kind, detail: str, retry_s: int | None = None, **headers: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, " ".join(detail.split())
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if retry_s is not None:
            self.headers["Retry-After"] = str(retry_s)

    def body(self) -> bytes:
        told = {
            "type": self.kind.type,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
        }
        # ASCII: what a client sent may hold half a surrogate pair, which UTF-8 cannot
        return json.dumps(told).encode("ascii")

    def response(self) -> Response:
        return Response(self.body(), self.kind.status, self.headers, MEDIA_TYPE)


def described(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses of these kinds, by status: which `type` and headers each status comes with."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({kind.status for kind in kinds}):
        own = [kind for kind in kinds if kind.status == status]
        exact = {"type": {"enum": [kind.type for kind in own]}, "status": {"const": status}}
        schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, {"properties": exact}]}
        found[status] = {
            "description": " ".join(kind.title for kind in own),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        headers = {429: "Retry-After", 503: "Retry-After", 401: "WWW-Authenticate", 405: "Allow"}
        if status in headers:
            number = {"type": "integer", "minimum": 1}
            found[status]["headers"] = {
                headers[status]: {
                    "required": True,
                    "description": "Seconds." if status in (429, 503) else "",
                    "schema": number if status in (429, 503) else {"type": "string"},
                }
            }
    return found
