"""Diagnose and restore photos from Python:

    import rnr
    model = rnr.load()                        # the champion if there is one, else the pretrained pair
    result = model.restore("fog.jpg")         # or a PIL image, or pixels (H, W, 3) uint8 or uint16 in sRGB

    result.before.findings                    # what was wrong; result.before.reasoning says why
    result.save("out/fog.jpg")                # with the metadata of the photo that went in
    model.restore("fog.jpg", edits={"haze": 80}, strength=0.5).image

A tour with pictures: docs/tour.ipynb. The command line is `rnr --help`. Importing this module loads no model library;
`load` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnr.model import Model

__all__ = ["PRETRAINED", "load", "locate", "pinned"]

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"


def load(ref: str | Path | None = None, device: str = "cpu", restores: bool = True) -> Model:
    """The reasoner and restorer that `ref` names, on `device` ("cpu" or "cuda").

    `ref` is "pretrained", "models:/NAME@ALIAS", "models:/NAME/VERSION" or a folder that holds reasoner/ and
    restorer/; by default the champion of the registry, or "pretrained" where there is none. Without `restores` a
    reasoner alone will do: the models then only diagnose.
    Raises components.inference.ModelRefError, one line, when there is no such model or no such device.
    """
    from components import inference
    from rnr.model import Model

    models = inference.load(locate(ref), device, restores)
    return Model(models.reasoner, models.restorer, models.device)


def locate(ref: str | Path | None = None) -> Path:
    """The local folder that `ref` names (see `load`), fetched first where it is a registered model."""
    from components import inference, tracking

    if ref is None:
        try:
            return tracking.fetch_model(tracking.CHAMPION)
        except tracking.NoSuchModel:
            ref = "pretrained"
        except tracking.TrackingError as error:
            raise inference.ModelRefError(str(error)) from None
    if str(ref).startswith("models:"):
        try:
            return tracking.fetch_model(str(ref))
        except tracking.TrackingError as error:
            raise inference.ModelRefError(str(error)) from None
    folder = PRETRAINED if str(ref) == "pretrained" else Path(ref).expanduser()
    if not folder.is_dir():
        raise inference.ModelRefError(
            f"{ref}: no model folder {folder}; `rnr run` trains one, or give --model a folder or {tracking.CHAMPION}"
        )
    return folder


def pinned(ref: str | Path | None = None) -> str:
    """What `ref` (see `load`) means now, as a reference that keeps meaning it: a version by its number, not an alias.

    Raises components.inference.ModelRefError, one line, when there is no such registered model.
    """
    from components import inference, tracking

    if ref is not None and not str(ref).startswith("models:"):
        return str(ref)
    try:
        return tracking.pinned(tracking.CHAMPION if ref is None else str(ref))
    except tracking.NoSuchModel as error:
        if ref is None:
            return "pretrained"
        raise inference.ModelRefError(str(error)) from None
    except tracking.TrackingError as error:
        raise inference.ModelRefError(str(error)) from None
