"""The degraded photos on which restorers are compared: fixed physics on crops of photos that no training saw.

Parameters are the same for every photo; what is drawn (grain, streaks, flakes, hills) has a seed of the photo's own, so
that a case means the same whoever runs it. `THIRD_PARTY` are corruptions that somebody else wrote.
"""

from __future__ import annotations

import hashlib
import sys
import types
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from components import storage
from components.degradations import blur, severity
from components.degradations.recipe import apply_recipe, step_of
from components.storage import parquet

SIDE = 256  # px
SCENE = {"horizon": 0.35, "floor": 0.2}
MOTION = {"kind": "motion", "extent_px": 9.0, "angle_deg": 30.0}
DARK = {"model": "camera", "exposure_ev": -2.5, "gamma": 1.2, "full_well": 10000.0, "read": 3.0}
RAIN = {
    "density": 0.07, "length_px": 20.0, "angle_deg": 15.0, "spread_deg": 3.0, "width_px": 1.5, "opacity": 0.28,
    "light": 0.9, "mist": 0.05, **SCENE,
}  # fmt: skip
SNOW = {"density": 0.06, "flake_px": 4.0, "motion_px": 4.0, "angle_deg": 15.0, "white": 0.95, "mist": 0.1, **SCENE}


def _haze(beta: float) -> dict:
    # mixed in sRGB, as RESIDE and CDD-11 do and as the dark channel prior supposes
    return {"beta": beta, "airlight": [0.85] * 3, **SCENE, "space": "srgb"}


def _gaussian(sigma: float) -> dict:
    """Noise of `sigma` levels of 255 in sRGB; like every case it is clipped and rounded to 8 bits at the end."""
    return {"model": "gaussian", "sigma": sigma / 255, "correlation_px": 0.0}


def _jpeg(quality: float) -> dict:
    return {"quality": quality, "subsampling": "4:2:0"}


# case -> (type, parameters) in the order of nature
CASES: dict[str, list[tuple[str, dict]]] = {
    "noise 25": [("noise", _gaussian(25))],
    "noise 50": [("noise", _gaussian(50))],
    "haze": [("haze", _haze(1.2))],
    "rain": [("rain", RAIN)],
    "snow": [("snow", SNOW)],
    "low light": [("low_light", DARK)],
    "JPEG 12": [("jpeg", _jpeg(12))],
    "motion blur": [("blur", MOTION)],
    "haze + noise": [("haze", _haze(1.0)), ("noise", _gaussian(15))],
    "haze + rain": [("haze", _haze(1.0)), ("rain", RAIN)],
    "low light + noise": [("low_light", {**DARK, "exposure_ev": -2.0}), ("noise", _gaussian(10))],
    "snow + JPEG": [("snow", SNOW), ("jpeg", _jpeg(20))],
    "haze + rain + noise": [("haze", _haze(0.8)), ("rain", RAIN), ("noise", _gaussian(10))],
    "blur + low light + JPEG": [
        ("blur", {**MOTION, "extent_px": 6.0}), ("low_light", {**DARK, "exposure_ev": -2.0}), ("jpeg", _jpeg(30)),
    ],
}  # fmt: skip
# corruption of imagecorruptions -> our name of what it comes nearest to
THIRD_PARTY = {
    "gaussian_noise": "noise", "shot_noise": "noise", "impulse_noise": "noise", "defocus_blur": "blur",
    "motion_blur": "blur", "snow": "snow", "frost": "snow", "fog": "haze", "jpeg_compression": "jpeg",
}  # fmt: skip
THIRD_PARTY_LEVEL = 3  # of 5
PREFIX = "imagecorruptions "


class MissingPackage(ImportError):
    """A package that is not in the lock is not there; the message is one line."""


@dataclass(frozen=True)
class Truth:
    """What a peer may be told: sigma of plain noise in levels of 255 and the kernel (k, k), None where unknown."""

    types: tuple[str, ...]
    sigma: float | None
    kernel: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Example:
    """One degraded photo: pictures (SIDE, SIDE, 3) uint8, and the recipe with its severities (7), if it is ours."""

    case: str
    photo: str
    degraded: np.ndarray
    clean: np.ndarray
    truth: Truth
    recipe: list[dict] | None
    severities: list[float] | None


def crops(clean: str | Path, split: str, count: int) -> list[tuple[str, np.ndarray]]:
    """(photo_id, (SIDE, SIDE, 3) uint8) of up to `count` photos spread evenly over a split, one crop each, at a place
    that the photo_id decides. Raises FileNotFoundError without shards, ValueError where no photo is large enough."""
    frame = parquet.read_split(clean, split, ["photo_id", "image", "width", "height"])
    frame = frame[(frame["width"] >= SIDE) & (frame["height"] >= SIDE)]
    if frame.empty:
        raise ValueError(f"{clean}: no {split} photo has {SIDE} px on both sides; ingest larger ones")
    rows = frame.iloc[spread(len(frame), count)]
    found = []
    for photo, data in zip(rows["photo_id"], rows["image"], strict=True):
        image = storage.decode_image(data)
        draw = np.random.default_rng(_seed(photo, "crop"))
        top, left = (int(draw.integers(side - SIDE + 1)) for side in image.shape[:2])
        found.append((photo, image[top : top + SIDE, left : left + SIDE]))
    return found


def spread(length: int, count: int) -> list[int]:
    """Up to `count` places spread evenly over `length`."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist()


def examples(case: str, photos: list[tuple[str, np.ndarray]]) -> list[Example]:
    """The photos of `crops` under a case of CASES, or under PREFIX and a name of THIRD_PARTY."""
    if case.startswith(PREFIX):
        return [_corrupted(case, photo, clean) for photo, clean in photos]
    return [_degraded(case, photo, clean) for photo, clean in photos]


def _seed(photo: str, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{photo}/{what}".encode()).digest()[:4], "big") >> 1


def _degraded(case: str, photo: str, clean: np.ndarray) -> Example:
    # a published recipe has no level of ours: 1, as components/degradations/presets.py says it
    recipe = [step_of(kind, 1.0, _seed(photo, kind), parameters) for kind, parameters in CASES[case]]
    degraded = apply_recipe(clean, recipe)
    given = dict(CASES[case])
    sigma = given["noise"]["sigma"] * 255 if "noise" in given else None
    # straight motion draws nothing
    kernel = blur.point_spread(given["blur"], torch.Generator()).numpy() if "blur" in given else None
    truth = Truth(tuple(given), sigma, kernel)
    return Example(case, photo, degraded, clean, truth, recipe, severity.measure(clean, recipe, degraded))


def _corrupted(case: str, photo: str, clean: np.ndarray) -> Example:
    name = case.removeprefix(PREFIX)
    # its noise comes from NumPy's one global generator
    np.random.seed(_seed(photo, name))
    degraded = third_party().corrupt(clean, corruption_name=name, severity=THIRD_PARTY_LEVEL)
    return Example(case, photo, degraded, clean, Truth((THIRD_PARTY[name],), None, None), None, None)


@cache
def third_party():
    """The package, last released for NumPy 1, an older scikit-image and an older setuptools: three names have changed
    since. Raises MissingPackage in one line."""
    np.float_ = np.float64  # type: ignore[attr-defined]
    stand_in = types.ModuleType("pkg_resources")
    stand_in.resource_filename = _beside  # type: ignore[attr-defined]
    theirs = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = stand_in
    try:
        import imagecorruptions
        from imagecorruptions import corruptions
    except ImportError as error:
        remedy = "pip install --no-deps imagecorruptions==1.1.2"
        raise MissingPackage(f"imagecorruptions: not installed ({error}); {remedy}") from None
    finally:
        # nobody else shall take the stand-in for the real one
        del sys.modules["pkg_resources"]
        if theirs:
            sys.modules["pkg_resources"] = theirs
    gaussian = corruptions.gaussian
    corruptions.gaussian = lambda image, *args, multichannel=False, **named: gaussian(
        image, *args, channel_axis=-1 if multichannel else None, **named
    )
    return imagecorruptions


def _beside(module: str, name: str) -> str:
    """The path of a file beside a module."""
    return str(Path(str(sys.modules[module].__file__)).parent / name)
