"""schemathesis asks the server whatever its document allows, and what it forbids: it must keep to its word.

pytest tests/serving/test_openapi.py                 # some examples of each kind
pytest -m slow tests/serving/test_openapi.py         # many, and every border of the schemas
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.serving.endpoint import Served, photo
from tests.tiny import REPOSITORY

# real files: a schema cannot say what a photo is, so all else would be refused
FILES = [photo("PNG", (9, 7)), photo("JPEG", (16, 8)), photo("GIF", (1, 1)), photo("TIFF", (5, 30))]
schemathesis.openapi.format("photo", st.sampled_from(FILES))
schemathesis.openapi.format("photo-base64", st.sampled_from(FILES).map(lambda data: base64.b64encode(data).decode()))


def document() -> dict[str, Any]:
    """The server's document, with the formats above where it speaks of photos."""
    told = json.loads((REPOSITORY / "docs/openapi.json").read_text(encoding="utf-8"))
    for path in ("/v1/diagnose", "/v1/restore"):
        body = told["paths"][path]["post"]["requestBody"]["content"]
        body["multipart/form-data"]["schema"]["properties"]["image"] = {"type": "string", "format": "photo"}
        # schemathesis cannot write what is no file, such as a number, as a part of type image/png
        del body["multipart/form-data"]["encoding"]
        if edits := body["multipart/form-data"]["schema"]["properties"].get("edit"):
            # that each type may come once is true, and more than the generator can do with several
            del edits["allOf"]
            edits["maxItems"] = 1
    for name in ("DiagnoseRequest", "RestoreRequest"):
        told["components"]["schemas"][name]["properties"]["image"] = {"type": "string", "format": "photo-base64"}
    return told


def schema(thorough: bool) -> Any:
    made = schemathesis.openapi.from_dict(document())
    made.config.phases.coverage.enabled = thorough
    return made


def limited(examples: int) -> settings:
    quick = [check for check in HealthCheck if check.name != "differing_executors"]
    phases = [Phase.explicit, Phase.generate]
    return settings(max_examples=examples, deadline=None, phases=phases, suppress_health_check=quick, derandomize=True)


@schema(thorough=False).parametrize()
@limited(8)
def test_the_server_keeps_to_its_document(case: schemathesis.Case, served: Served) -> None:
    case.call_and_validate(base_url=served.url, timeout=120)


@pytest.mark.slow
@schema(thorough=True).parametrize()
@limited(150)
def test_the_server_keeps_to_its_document_at_every_border(case: schemathesis.Case, served: Served) -> None:
    case.call_and_validate(base_url=served.url, timeout=120)
