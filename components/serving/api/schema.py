"""What is asked and answered, as types: they check the requests and write the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.diagnosis import TYPES, DegradationType, Diagnosis

Severity = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Format = Literal["same", "jpeg", "png", "webp", "tiff"]
# by Pillow's name; the answer to "same" comes in the format that was sent
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "GIF": "image/gif",
}
PHOTO: dict[str, Any] = {"contentEncoding": "base64", "minLength": 1}


class Options(BaseModel):
    """How to restore; everything has a default."""

    model_config = ConfigDict(extra="forbid")
    edits: dict[DegradationType, Severity] = Field(
        {}, description="Severities that overrule the diagnosis, by type; 0 says that it is not there.",
        examples=[{"haze": 0, "noise": 40}],
    )  # fmt: skip
    strength: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        1.0, description="From 0, the photo as it was sent, to 1, as restored as it gets."
    )
    format: Format = Field("same", description="Of the restored photo; by default that of the photo sent.")


class RestoreRequest(Options):
    """A photo to restore, in base64."""

    image: str = Field(description="A photo's file in base64; line breaks are allowed.", json_schema_extra=PHOTO)


class DiagnoseRequest(BaseModel):
    """A photo to diagnose, in base64."""

    model_config = ConfigDict(extra="forbid")
    image: str = Field(description="A photo's file in base64; line breaks are allowed.", json_schema_extra=PHOTO)


class DiagnoseAnswer(BaseModel):
    """What was found in a photo."""

    model_config = ConfigDict(extra="forbid")
    diagnosis: Diagnosis
    width: int = Field(ge=1, description="Pixels, with the photo upright.")
    height: int = Field(ge=1)
    notes: list[str] = Field(description="What was lost or assumed in reading the file, a sentence each.")
    model: str = Field(description="The models that answered.")


class RestoreAnswer(BaseModel):
    """A restored photo, what was found in it before and after, and what was held back."""

    model_config = ConfigDict(extra="forbid")
    image: str = Field(description="The restored photo's file.", json_schema_extra=PHOTO)
    media_type: str = Field(json_schema_extra={"enum": list(MEDIA_TYPES.values())})
    before: Diagnosis = Field(description="Under which the photo was restored: the edits are in it.")
    after: Diagnosis = Field(description="Of the restored photo.")
    kept: str | None = Field(description="Why the photo came back as it was sent, or null.")
    weakened: str | None = Field(description="Why less strength was used than asked for, or null.")
    strength: float = Field(ge=0, le=1, description="That was used.")
    strength_asked: float = Field(ge=0, le=1)
    edits: dict[DegradationType, Severity]
    timings: dict[str, float] = Field(description="Seconds of the models, by step.")
    notes: list[str] = Field(description="What was lost or assumed in reading the file, a sentence each.")
    model: str = Field(description="The models that answered.")


class Status(BaseModel):
    """The server is up."""

    model_config = ConfigDict(extra="forbid")
    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """The server takes requests."""

    model_config = ConfigDict(extra="forbid")
    status: Literal["ready"] = "ready"
    model: str = Field(description="The models that answer.")


class ProblemAnswer(BaseModel):
    """RFC 9457: what went wrong."""

    model_config = ConfigDict(extra="forbid", title="Problem")
    type: str = Field(description="The sort of problem; stable, for programs.")
    title: str = Field(description="The sort of problem, for people.")
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What is wrong with this request, and what helps.")


# A number as `rnr restore --edit` takes it.
EDIT_PATTERN = rf"^({'|'.join(TYPES)})=(100(\.0+)?|[0-9]{{1,2}}(\.[0-9]+)?)$"


def form(restores: bool) -> dict[str, Any]:
    """The JSON schema of a multipart form with a photo, and the options where it `restores`."""
    # in OpenAPI 3.1 bytes as they are; which types of photo, says `encoding`
    file = {"type": "string", "contentMediaType": "application/octet-stream", "description": "A photo's file."}
    fields: dict[str, Any] = {"image": file}
    if restores:
        options = Options.model_json_schema()["properties"]
        fields["edit"] = {
            "type": "array",
            "items": {"type": "string", "pattern": EDIT_PATTERN},
            "allOf": [{"contains": {"pattern": f"^{kind}="}, "minContains": 0, "maxContains": 1} for kind in TYPES],
            "description": "TYPE=SEVERITY that overrules the diagnosis; may be repeated, once a type.",
        }
        fields |= {name: options[name] for name in ("strength", "format")}
    return {"type": "object", "required": ["image"], "properties": fields, "additionalProperties": False}


def bodies(restores: bool) -> dict[str, Any]:
    """The OpenAPI request body: a form, or JSON."""
    model = "RestoreRequest" if restores else "DiagnoseRequest"
    return {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": form(restores),
                "encoding": {"image": {"contentType": ", ".join(MEDIA_TYPES.values())}},
            },
            "application/json": {"schema": {"$ref": f"#/components/schemas/{model}"}},
        },
    }
