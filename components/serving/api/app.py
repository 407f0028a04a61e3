"""The paths of the endpoint: a photo in, a diagnosis or a restored photo out.

from components.serving.api.app import build
app = build(service, Limits(), token=None)       # an ASGI app
python -m components.serving.api.app > docs/openapi.json
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from components.photos.decode import PhotoError, TooManyPixelsError, UnknownFormatError, decode, size
from components.serving.api import answers, problems, schema, upload
from components.serving.api.front import Front
from components.serving.api.limits import Limits
from components.serving.api.problems import Problem
from components.serving.service import LateError, Service, StoppingError

T = TypeVar("T")
VERSION = "1.0.0"
# FastAPI's spans and logs of failures could hold what a photo made fail; Prometheus has the figures
NO_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)
# every way in which a request with a photo can fail
FAILURES = tuple(kind for kind in problems.KINDS if kind not in (problems.NOT_FOUND, problems.CROWDED))


def build(service: Service, limits: Limits, token: str | None) -> ASGIApp:
    """The app on a service that has been entered. With a `token` /v1 and /metrics want it."""
    return Front(routes(service, limits, guarded=token is not None), service, limits, token)


def routes(service: Service, limits: Limits, guarded: bool) -> FastAPI:
    """The paths behind the front; `guarded` by a token, or not."""
    # the pages that FastAPI would add fetch their scripts from elsewhere
    pages: Any = {"docs_url": None, "redoc_url": None, "openapi_url": None}
    app = FastAPI(title="Reason and Restore", version=VERSION, telemetry=NO_TELEMETRY, **pages)
    guard: dict[str, Any] = {"security": [{"token": []}]} if guarded else {}
    failures = [kind for kind in FAILURES if guarded or kind != problems.UNAUTHORIZED]

    def photos(path: str, answer: type, images: dict[str, Any]) -> Callable:
        good: dict[int | str, dict[str, Any]]
        good = {200: {"description": (answer.__doc__ or "").strip(), "model": answer, **images}}
        return app.post(
            path,
            operation_id=path.rsplit("/", 1)[1],
            response_model=None,
            responses=good | problems.described(*failures),
            openapi_extra={"requestBody": schema.bodies(bool(images)), **guard},
        )

    @photos("/v1/diagnose", schema.DiagnoseAnswer, {})
    async def diagnose(request: Request) -> Response:
        """Say what is wrong with a photo, how severe, and why."""
        sent = await upload.read(request, limits, restores=False)
        pixels = await _measured(sent.image, limits)
        service.metrics.uploads.observe(len(sent.image))
        said = await _awaited(request, limits, service.diagnose(lambda: decode(sent.image, limits.max_pixels), pixels))
        return JSONResponse(answers.diagnosed(said))

    @photos("/v1/restore", schema.RestoreAnswer, _images())
    async def restore(request: Request) -> Response:
        """Restore a photo under its diagnosis.

        The answer is the photo's file, with a summary in headers. A request whose Accept names application/json and no
        image type gets JSON: the file in base64 and both diagnoses in full.
        """
        sent = await upload.read(request, limits, restores=True)
        await _measured(sent.image, limits)
        service.metrics.uploads.observe(len(sent.image))
        done = await _awaited(
            request, limits, service.submit(lambda live: answers.restored(live, sent, limits.max_pixels))
        )
        if answers.wants_json(request.headers.get("accept", "")):
            return Response(await asyncio.to_thread(answers.as_json, done), media_type="application/json")
        return Response(done.image, media_type=done.told["media_type"], headers=answers.summary(done.told))

    @app.get(
        "/healthz",
        operation_id="healthz",
        response_model=schema.Status,
        responses=problems.described(problems.INTERNAL),
    )
    async def healthz() -> Response:
        """Whether the server is up; a 500 asks for a restart."""
        if not service.alive:
            raise Problem(problems.INTERNAL, "the models' thread has ended")
        return JSONResponse(schema.Status().model_dump())

    @app.get(
        "/readyz", operation_id="readyz", response_model=schema.Ready, responses=problems.described(problems.STOPPING)
    )
    async def readyz() -> Response:
        """Whether the server takes requests; a 503 asks to send them elsewhere."""
        if service.stopping:
            raise Problem(problems.STOPPING, "the server finishes what it has and then ends", service.retry_s())
        return JSONResponse(schema.Ready(model=service.live.name).model_dump())

    text: dict[int | str, dict[str, Any]]
    text = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Counters and gauges."}}
    refused = problems.described(problems.UNAUTHORIZED) if guarded else {}

    @app.get("/metrics", operation_id="metrics", response_class=Response, responses=text | refused, openapi_extra=guard)
    async def metrics() -> Response:
        """Counters and gauges for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return JSONResponse(document(app, guarded))

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        kind = problems.WRONG_METHOD if error.status_code == 405 else problems.NOT_FOUND
        allowed = dict(error.headers or {}).get("Allow", "")
        line = f"the paths are in /openapi.json{f'; this one knows {allowed}' if allowed else ''}"
        return Problem(kind, line, None, **({"Allow": allowed} if allowed else {})).response()

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        # told here, logged by the front, to which it is raised again
        return Problem(problems.INTERNAL, "an unexpected error; the server's log says more").response()

    return app


async def _measured(image: bytes, limits: Limits) -> int:
    """Pixels of a photo as its header says. Raises Problem before anything waits for a photo that is none."""
    try:
        width, height = await asyncio.to_thread(size, image, limits.max_pixels)
    except PhotoError as error:
        raise _problem(error) from None
    return width * height


def _problem(error: PhotoError) -> Problem:
    line = f"image: {str(error).removeprefix('the photo: ')}"
    if isinstance(error, UnknownFormatError):
        return Problem(problems.UNKNOWN_FORMAT, line)
    return Problem(problems.TOO_MANY_PIXELS if isinstance(error, TooManyPixelsError) else problems.UNREADABLE, line)


async def _awaited(request: Request, limits: Limits, work: Future[T]) -> T:
    """What the models' thread made of it. Raises Problem, or ClientDisconnect: nobody works for a client that left."""
    result = asyncio.wrap_future(work)
    left = asyncio.ensure_future(request.receive())
    both: set[asyncio.Future[Any]] = {result, left}
    try:
        await asyncio.wait(both, timeout=limits.request_s, return_when=asyncio.FIRST_COMPLETED)
        if result.done():
            return result.result()
        if left.done():
            raise ClientDisconnect
        if work.cancel():
            raise Problem(problems.LATE, f"waited {limits.request_s:g} s for the models", 1)
        raise Problem(problems.TIMEOUT, f"not done within {limits.request_s:g} s; send a smaller photo")
    except LateError as error:
        raise Problem(problems.LATE, str(error), error.retry_s) from None
    except StoppingError as error:
        raise Problem(problems.STOPPING, str(error), error.retry_s) from None
    except PhotoError as error:
        raise _problem(error) from None
    finally:
        # now, if it has not begun: `result` would tell the work of its end a turn of the loop later, and the models'
        # thread could take it meanwhile
        work.cancel()
        result.cancel()
        left.cancel()


def _images() -> dict[str, Any]:
    """The OpenAPI answer of a restoration as an image, beside that in JSON."""
    heads = answers.SUMMARY_HEADERS.items()
    headers = {n: {"description": d, "required": False, "schema": {"type": t}} for n, (d, t) in heads}
    return {"content": {media: {} for media in schema.MEDIA_TYPES.values()}, "headers": headers}


def document(app: FastAPI, guarded: bool) -> dict[str, Any]:
    """The OpenAPI document of the app, with the types that FastAPI does not see."""
    made = app.openapi()
    models = (schema.DiagnoseRequest, schema.RestoreRequest, schema.ProblemAnswer)
    _, extra = models_json_schema([(m, "validation") for m in models], ref_template="#/components/schemas/{model}")
    components = made.setdefault("components", {})
    for name, described in extra["$defs"].items():
        components.setdefault("schemas", {})["Problem" if name == "ProblemAnswer" else name] = described
    if guarded:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return made


if __name__ == "__main__":
    print(json.dumps(document(routes(cast(Service, None), Limits(), guarded=False), guarded=False), indent=2))
