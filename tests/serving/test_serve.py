"""`rnr serve` as a client sees it: photos in, diagnoses and restored photos out, and a reason for every refusal."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from pathlib import Path

import httpx
import jsonschema
import numpy as np
import pytest
from PIL import ExifTags, Image

from components.photos.decode import Photo, decode
from components.photos.encode import encoded
from components.serving.api.limits import MIB
from tests.serving.endpoint import Served, photo, serving
from tests.tiny import REPOSITORY

HAZY = REPOSITORY / "docs/gallery/photos/haze-town-from-the-air.png"
TOKEN = "a-token-of-more-than-16"


@pytest.fixture(scope="module")
def hazy() -> bytes:
    """A real photo in haze, smaller."""
    with Image.open(HAZY) as image:
        image.thumbnail((240, 240))
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def problem(answer: httpx.Response, status: int, kind: str) -> str:
    """The detail of a problem document of this status and kind."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    told = answer.json()
    assert (told["status"], told["type"]) == (status, f"urn:reason-and-restore:problem:{kind}")
    assert "\n" not in told["detail"]
    return told["detail"]


def test_a_diagnosis_comes_from_a_form_and_from_json(served: Served, hazy: bytes) -> None:
    told = served.post("/v1/diagnose", hazy).json()
    assert told["diagnosis"]["reasoning"]
    assert len(told["diagnosis"]["evidence"]) == 7
    assert (told["width"], told["height"], told["model"]) == (*Image.open(io.BytesIO(hazy)).size, "pretrained")
    coded = {"image": base64.encodebytes(hazy).decode()}
    assert served.client.post("/v1/diagnose", json=coded).json()["diagnosis"] == told["diagnosis"]


def test_a_restored_photo_comes_with_a_summary_or_in_json(served: Served, hazy: bytes) -> None:
    answer = served.post("/v1/restore", hazy, edit="haze=60")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert "haze=60.0" in answer.headers["rnr-before"]
    assert (answer.headers["rnr-strength"], answer.headers["rnr-model"]) == ("1", '"pretrained"')
    full = served.post("/v1/restore", hazy, edit="haze=60", accept="application/json").json()
    assert base64.b64decode(full["image"]) == answer.content
    assert full["before"]["findings"]["haze"]["severity"] == 60
    assert (full["edits"], full["strength"], full["kept"]) == ({"haze": 60}, 1, None)
    assert full["timings"].keys() == {"diagnose_s", "restore_s", "second_look_s"}
    coded = {"image": base64.b64encode(hazy).decode(), "edits": {"haze": 60}}
    assert served.client.post("/v1/restore", json=coded).content == answer.content


def test_strength_edits_and_format_are_obeyed(served: Served, hazy: bytes) -> None:
    original = decode(hazy).pixels.astype(int)
    changes = []
    for strength in (0.5, 1):
        answer = served.post("/v1/restore", hazy, edit=["haze=80", "noise=0"], strength=strength)
        changes.append(np.abs(decode(answer.content).pixels.astype(int) - original).mean())
    assert 0.4 < changes[0] / changes[1] < 0.6
    kept = served.post("/v1/restore", hazy, edit="haze=80", strength=0)
    assert kept.content == hazy
    assert kept.headers["rnr-kept"] == '"strength is 0"'
    for form in ("jpeg", "png", "webp", "tiff"):
        answer = served.post("/v1/restore", hazy, strength=0, format=form)
        assert answer.headers["content-type"] == f"image/{form}"
        assert decode(answer.content).format == form.upper()


def test_sixteen_bits_and_metadata_are_kept(served: Served) -> None:
    stored = np.random.default_rng(0).integers(9000, 50000, (30, 40, 3), np.uint16)
    deep = encoded(stored, Photo(stored, None, None, None, "PNG", 16))
    answer = served.post("/v1/restore", deep, edit="noise=50")
    back = decode(answer.content, deep=True)
    assert (back.bits, back.pixels.shape) == (16, (30, 40, 3))
    assert len(np.unique(back.pixels)) > 1000
    shallow = served.post("/v1/restore", deep, edit="noise=50", format="jpeg", accept="application/json").json()
    assert "16 bits per channel written as 8: JPEG holds no more" in shallow["notes"]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = 6, "Camera"
    for form in ("same", "png", "webp", "tiff"):
        turned = served.post("/v1/restore", photo("JPEG", exif=exif), edit="noise=50", format=form)
        with Image.open(io.BytesIO(turned.content)) as image:
            assert (image.size, image.getexif()[ExifTags.Base.Make]) == ((32, 48), "Camera")
            assert image.getexif()[ExifTags.Base.Orientation] == 1


def test_alpha_is_kept_whatever_the_bits(served: Served) -> None:
    stored = np.random.default_rng(0).integers(9000, 50000, (30, 40, 3), np.uint16)
    alpha = np.full((30, 40), 0x8080, np.uint16)
    deep = encoded(stored, Photo(stored, alpha, None, None, "PNG", 16))
    for form, bits in (("same", 16), ("webp", 8), ("tiff", 16)):
        back = decode(served.post("/v1/restore", deep, edit="noise=50", format=form).content, deep=True)
        assert back.bits == bits
        assert back.alpha is not None
        assert (back.alpha == (0x8080 if bits == 16 else 0x80)).all()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"strength": "2"}, "strength: Input should be less than or equal to 1"),
        ({"strength": "nan"}, "strength: Input should be a finite number"),
        ({"edit": "fog=3"}, "edits.fog: Input should be 'haze'"),
        ({"edit": "haze=101"}, "edits.haze: Input should be less than or equal to 100"),
        ({"edit": "haze"}, "edit: not TYPE=SEVERITY"),
        ({"edit": ["haze=1", "haze=2"]}, "edit: each type at most once"),
        ({"format": "exe"}, "format: Input should be 'same', 'jpeg'"),
        ({"colour": "red"}, "colour: unknown field; known: image, edit, strength, format"),
        ({"strength": "1" * 300}, "strength: longer than 256 bytes"),
    ],
)
def test_wrong_wishes_are_named(served: Served, fields: dict[str, object], told: str) -> None:
    assert told in problem(served.post("/v1/restore", photo(), **fields), 422, "invalid-input")


def test_wrong_bodies_are_named(served: Served) -> None:
    post = served.client.post
    assert "not a photo" in problem(served.post("/v1/restore", b"%PDF-1.7"), 415, "unknown-photo-format")
    assert "0 bytes" in problem(served.post("/v1/diagnose", b""), 422, "unreadable-photo")
    torn = photo("PNG", (200, 200))[:-4000]
    assert "cannot be read" in problem(served.post("/v1/diagnose", torn), 422, "unreadable-photo")
    assert "cannot be read" in problem(served.post("/v1/restore", torn), 422, "unreadable-photo")
    assert "Content-Type is none" in problem(post("/v1/restore", content=b"x"), 415, "unsupported-content-type")
    text = {"Content-Type": "text/plain"}
    assert "text/plain" in problem(post("/v1/restore", content=b"x", headers=text), 415, "unsupported-content-type")
    as_json = {"Content-Type": "application/json"}
    for body in (b"{", b"\xff", b"[" * 100_000, b""):
        problem(post("/v1/restore", content=body, headers=as_json), 400, "malformed-request")
    for body in (b"{}", b"[]", b'{"image": 3}', b'{"image": "no base64!"}', b'{"image": "AA==", "strength": "1"}'):
        problem(post("/v1/restore", content=body, headers=as_json), 422, "invalid-input")
    problem(post("/v1/diagnose", json={"image": "AA=="}), 415, "unknown-photo-format")
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    for body in (
        b"junk",
        b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nhalf',
        b"--b\r\n\r\nno name\r\n--b--",
    ):
        problem(post("/v1/restore", content=body, headers=form), 400, "malformed-request")
    problem(post("/v1/restore", content=b"", headers={"Content-Type": "multipart/form-data"}), 400, "malformed-request")
    two = [("image", ("a", photo())), ("image", ("b", photo()))]
    assert "given twice" in problem(post("/v1/restore", files=two), 422, "invalid-input")
    problem(served.client.get("/v1/restore"), 405, "method-not-allowed")
    assert served.client.get("/v1/restore").headers["allow"] == "POST"
    problem(served.client.get("/docs"), 404, "not-found")


def test_too_much_is_refused_before_it_is_unpacked(served: Served) -> None:
    most = 25 * MIB
    heavy = photo("BMP", (3000, 3000))
    assert len(heavy) > most
    assert str(most) in problem(served.post("/v1/diagnose", heavy), 413, "too-many-bytes")
    # without a length, as it streams in
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    streamed = served.client.post("/v1/diagnose", content=iter([head, *[bytes(MIB)] * 27]), headers=form)
    problem(streamed, 413, "too-many-bytes")
    coded = {"image": base64.b64encode(heavy).decode()}
    problem(served.client.post("/v1/diagnose", json=coded), 413, "too-many-bytes")
    buffer = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 50_000
    told = problem(served.post("/v1/restore", buffer.getvalue()), 413, "too-many-pixels")
    assert told == "image: 12000x12000 is 144000000 pixels, over the limit of 50000000"


def test_the_document_is_what_the_server_does(served: Served, hazy: bytes) -> None:
    """The schemas of the answers, by a validator of its own; the rest is for schemathesis."""
    document = served.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert sorted(document["paths"]) == ["/healthz", "/metrics", "/readyz", "/v1/diagnose", "/v1/restore"]
    refer = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": document["components"]}
    answers = {
        "DiagnoseAnswer": served.post("/v1/diagnose", hazy),
        "RestoreAnswer": served.post("/v1/restore", hazy, accept="application/json"),
        "Problem": served.post("/v1/restore", b"no photo"),
        "Status": served.client.get("/healthz"),
        "Ready": served.client.get("/readyz"),
    }
    for name, answer in answers.items():
        jsonschema.validate(answer.json(), {**refer, "$ref": f"#/components/schemas/{name}"})
    written = json.loads((REPOSITORY / "docs/openapi.json").read_text(encoding="utf-8"))
    assert written == document, "run `python -m components.serving.api.app > docs/openapi.json`"


def test_what_is_counted(served: Served) -> None:
    before = served.metric('rnr_requests_total{path="/v1/diagnose",status="200"}')
    served.post("/v1/diagnose", photo())
    assert served.metric('rnr_requests_total{path="/v1/diagnose",status="200"}') == before + 1
    assert served.metric('rnr_model_info{model="pretrained"}') == 1
    assert served.metric("rnr_queue_length") == 0
    assert served.metric("rnr_batch_size_count") >= 1
    assert served.metric("process_resident_memory_bytes") > 1e8
    lines = served.log.read_text(encoding="utf-8").splitlines()
    assert any("POST /v1/diagnose 200" in line for line in lines)


def test_a_token_a_full_queue_and_a_graceful_stop(tmp_path: Path, hazy: bytes) -> None:
    """One server of two places: who may enter, 429 under load, and SIGTERM in the midst of it."""
    with serving(tmp_path, "--model", REPOSITORY / "pretrained", "--queue", 2, token=TOKEN) as server:
        stranger = httpx.Client(base_url=server.url)
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
            refused = stranger.post("/v1/diagnose", files={"image": photo()}, headers=headers)
            assert refused.headers["www-authenticate"].startswith("Bearer")
            assert TOKEN not in problem(refused, 401, "unauthorized")
        problem(stranger.get("/metrics"), 401, "unauthorized")
        assert [stranger.get(path).status_code for path in ("/healthz", "/readyz", "/openapi.json")] == [200] * 3
        assert stranger.get("/readyz").json()["model"] == "pretrained"
        assert server.post("/v1/diagnose", photo()).status_code == 200

        answers: list[httpx.Response] = []

        def ask() -> None:
            answers.append(httpx.post(f"{server.url}/v1/restore", files={"image": hazy}, headers=bearer, timeout=120))

        bearer = {"Authorization": f"Bearer {TOKEN}"}
        crowd = [threading.Thread(target=ask) for _ in range(8)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join()
        codes = sorted(answer.status_code for answer in answers)
        assert set(codes) == {200, 429}, codes
        assert codes.count(200) >= 2
        busy = next(answer for answer in answers if answer.status_code == 429)
        assert 1 <= int(busy.headers["retry-after"]) <= 120
        assert "2 places" in problem(busy, 429, "busy")

        answers.clear()
        crowd = [threading.Thread(target=ask) for _ in range(2)]
        for one in crowd:
            one.start()
        while server.metric("rnr_places_taken") < 2:
            time.sleep(0.005)
        server.process.terminate()
        while stranger.get("/readyz").status_code == 200:
            time.sleep(0.005)
        problem(stranger.get("/readyz"), 503, "stopping")
        problem(server.post("/v1/diagnose", photo()), 503, "stopping")
        for one in crowd:
            one.join()
        assert [answer.status_code for answer in answers] == [200, 200]
        assert server.process.wait(timeout=60) == 0
        assert "Traceback" not in server.log.read_text(encoding="utf-8")
        assert TOKEN not in server.log.read_text(encoding="utf-8")
