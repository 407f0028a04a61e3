"""A request's body, read into memory within its limits and nowhere else: a form as it streams in, or JSON.

Starlette's own forms go to a temporary file beyond 1 MB; no photo of a stranger should touch a disk.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from dataclasses import dataclass

from pydantic import ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from components.serving.api import problems
from components.serving.api.limits import Limits
from components.serving.api.problems import Problem
from components.serving.api.schema import DiagnoseRequest, Options, RestoreRequest

# of a form: fields beside the photo, and the bytes of each
FIELDS, FIELD_BYTES = 32, 256


@dataclass(frozen=True)
class Upload:
    """A photo's file, and how it is to be restored."""

    image: bytes
    options: Options


async def read(request: Request, limits: Limits, restores: bool) -> Upload:
    """The upload of a request for /v1/restore, or /v1/diagnose, which knows no options. Raises Problem."""
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    if kind == b"multipart/form-data":
        boundary = parameters.get(b"boundary")
        if not boundary:
            raise Problem(problems.MALFORMED, "Content-Type: multipart/form-data without a boundary")
        upload = await _form(request, limits, boundary, restores)
    elif kind == b"application/json":
        upload = await _json(request, limits, restores)
    else:
        told = kind.decode("latin-1") or "none"
        line = f"Content-Type is {told}; send multipart/form-data with a field image, or application/json"
        raise Problem(problems.WRONG_CONTENT_TYPE, line)
    if not upload.image:
        raise Problem(problems.UNREADABLE, "image: the file is empty (0 bytes)")
    return upload


async def pieces(request: Request, limits: Limits, most: int) -> AsyncIterator[bytes]:
    """The body as it comes, as long as it is not too much and not too slow. Raises Problem, or ClientDisconnect."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > most:
        raise _too_large(limits)
    stream = request.stream()
    loop = asyncio.get_running_loop()
    began, received = loop.time(), 0
    while True:
        try:
            async with asyncio.timeout_at(limits.due(began, received, limits.upload_s)):
                piece = await anext(stream, None)
        except TimeoutError:
            line = f"only {received} bytes came within {loop.time() - began:.0f} s"
            raise Problem(problems.SLOW_UPLOAD, line) from None
        if piece is None:
            return
        received += len(piece)
        if received > most:
            raise _too_large(limits)
        yield piece


def _too_large(limits: Limits) -> Problem:
    return Problem(problems.TOO_MANY_BYTES, f"a photo's file may have {limits.max_bytes} bytes")


async def _json(request: Request, limits: Limits, restores: bool) -> Upload:
    body = bytearray()
    async for piece in pieces(request, limits, limits.json_bytes):
        body += piece
    model = RestoreRequest if restores else DiagnoseRequest
    try:
        asked = model.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise _invalid(error) from None
    # here, and not in a thread: a large body lies in memory three times meanwhile, so one at a time
    body.clear()
    text, asked.image = asked.image, ""
    try:
        image = base64.b64decode(text.encode("ascii").translate(None, b"\r\n"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Problem(problems.INVALID, "image: not base64") from None
    if len(image) > limits.max_bytes:
        raise _too_large(limits)
    chosen = asked.model_dump(exclude={"image"}) if isinstance(asked, RestoreRequest) else {}
    return Upload(image, Options.model_validate(chosen))


async def _form(request: Request, limits: Limits, boundary: bytes, restores: bool) -> Upload:
    form = _Form(limits)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.part_begins,
                "on_header_field": form.header_name,
                "on_header_value": form.header_value,
                "on_header_end": form.header_ends,
                "on_headers_finished": form.headers_end,
                "on_part_data": form.data,
                "on_end": form.ends,
            },
        )
        async for piece in pieces(request, limits, limits.form_bytes):
            parser.write(piece)
    except FormParserError as error:
        raise Problem(problems.MALFORMED, f"the form cannot be parsed: {error}") from None
    if not form.ended:
        raise Problem(problems.MALFORMED, "the form is cut off: its last boundary is missing")
    return form.upload(restores)


class _Form:
    """The parts of a form: one photo, and short fields."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.ended = limits, False
        self.parts: list[tuple[str, bytearray]] = []
        self._header, self._value, self._disposition = bytearray(), bytearray(), b""

    def part_begins(self) -> None:
        if len(self.parts) > FIELDS:
            raise Problem(problems.INVALID, f"more than {FIELDS} fields")
        self._disposition = b""

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def headers_end(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name")
        if name is None:
            raise Problem(problems.MALFORMED, "a part of the form has no name")
        self.parts.append((name.decode("utf-8", "replace"), bytearray()))

    def data(self, data: bytes, start: int, end: int) -> None:
        name, value = self.parts[-1]
        value += data[start:end]
        if name == "image" and len(value) > self.limits.max_bytes:
            raise _too_large(self.limits)
        if name != "image" and len(value) > FIELD_BYTES:
            raise Problem(problems.INVALID, f"{name[:40]}: longer than {FIELD_BYTES} bytes")

    def ends(self) -> None:
        self.ended = True

    def upload(self, restores: bool) -> Upload:
        """What the fields say. Raises Problem."""
        known = ("image", "edit", "strength", "format") if restores else ("image",)
        asked: dict[str, object] = {}
        edits: dict[str, str] = {}
        for name, value in self.parts:
            if name not in known:
                raise Problem(problems.INVALID, f"{name[:40]}: unknown field; known: {', '.join(known)}")
            if name == "edit":
                kind, equals, severity = value.decode("utf-8", "replace").partition("=")
                if not equals or kind in edits:
                    wrong = "each type at most once" if equals else "not TYPE=SEVERITY, such as haze=0"
                    raise Problem(problems.INVALID, f"edit: {wrong}")
                edits[kind] = severity
            elif name in asked:
                raise Problem(problems.INVALID, f"{name}: given twice; one request is one photo")
            else:
                asked[name] = value if name == "image" else value.decode("utf-8", "replace")
        if "image" not in asked:
            raise Problem(problems.INVALID, "image: this field is missing")
        image = asked.pop("image")
        assert isinstance(image, bytearray)
        self.parts.clear()
        try:
            return Upload(bytes(image), Options.model_validate({**asked, "edits": edits}))
        except ValidationError as error:
            raise _invalid(error) from None


def _invalid(error: ValidationError) -> Problem:
    """The first complaint, in one line; never the value itself, which may be a photo."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part)[:40] for part in first["loc"] if part != "[key]")
    line = f"{where}: {first['msg']}" if where else first["msg"]
    return Problem(problems.MALFORMED if first["type"] == "json_invalid" else problems.INVALID, line)
