"""Features of a photo for the reasoner's opponents (components/evaluation/boosting.py).

    rnr evaluate-reasoner

Two sets: `handmade`, the thirty-odd numbers that anybody would write down (noise sigma, dark channel, Laplacian
energy, gradient statistics, blockiness, light and colour), computed here and nowhere else; and `gauges`, all that
the reasoner itself is shown in numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# px: neighbourhood of the dark channel, as He et al. 2009 scaled to this pipeline's small pictures
DARK_WINDOW = 9
BLOCK = 8  # px: grid of JPEG
LEAST_SIDE = 32  # px: smaller pictures are repeated at their edges
FEATURES = (
    "noise_immerkaer", "noise_grey", "noise_red_green", "noise_blue_green", "noise_floor",
    "dark_mean", "dark_median", "dark_low", "bright_high",
    "laplacian_variance", "laplacian_mean", "laplacian_skewness", "laplacian_kurtosis", "laplacian_half",
    "gradient_mean", "gradient_90", "gradient_99", "gradient_kurtosis", "gradient_coherence", "gradient_cosine",
    "gradient_sine", "gradient_half",
    "blockiness_columns", "blockiness_rows", "flat_share",
    "brightness", "contrast", "luma_01", "luma_50", "luma_99", "saturation", "saturation_spread", "colourfulness",
)  # fmt: skip


def features(image: np.ndarray) -> np.ndarray:
    """(len(FEATURES),) float32 of a photo (H, W, 3) uint8 of any size, in the order of FEATURES."""
    short = [max(0, LEAST_SIDE - side) for side in image.shape[:2]]
    padded = np.pad(image, ((0, short[0]), (0, short[1]), (0, 0)), mode="edge") if any(short) else image
    # colours first: sums and extremes over them run over whole planes
    rgb = np.ascontiguousarray(padded.transpose(2, 0, 1)).astype(np.float32) / 255
    grey = rgb.mean(0)
    values = {**_noise(rgb, grey), **_air(rgb), **_sharpness(grey), **_codec(grey), **_tones(rgb, grey)}
    return np.array([values[name] for name in FEATURES], np.float32)


def gauge_features(image: np.ndarray) -> np.ndarray:
    """(BARS,) float32: every gauge that the reasoner is shown, of a photo (H, W, 3) uint8 of a pair's size."""
    from components.reasoner import pictures

    picture = pictures.at_least(pictures.to_tensor(image), LEAST_SIDE)[None]
    return pictures.measured(picture, picture)[0][0].numpy()


SETS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"handmade": features, "gauges": gauge_features}


def _noise(rgb: np.ndarray, grey: np.ndarray) -> dict[str, float]:
    """Noise sigma: Immerkaer 1996 (mean of a double Laplacian), Donoho & Johnstone 1994 (median of the diagonal
    detail) in grey and colour differences, and the least spread of any block."""
    double = np.diff(np.diff(grey, 2, axis=0), 2, axis=1)
    detail = (rgb[:, :-1, :-1] - rgb[:, 1:, :-1] - rgb[:, :-1, 1:] + rgb[:, 1:, 1:]) / 2
    planes = {
        "noise_grey": detail.mean(0),
        "noise_red_green": detail[0] - detail[1],
        "noise_blue_green": detail[2] - detail[1],
    }
    height, width = (side // BLOCK * BLOCK for side in grey.shape)
    blocks = grey[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return {
        "noise_immerkaer": float(np.abs(double).mean() * np.sqrt(np.pi / 2) / 6),
        "noise_floor": _percentiles(blocks.std(axis=(1, 3)), 5)[0],
        **{name: float(np.median(np.abs(plane)) / 0.6745) for name, plane in planes.items()},
    }


def _air(rgb: np.ndarray) -> dict[str, float]:
    """The dark channel (He et al. 2009), which haze lifts, and its bright counterpart, which darkness lowers."""
    from scipy.ndimage import maximum_filter, minimum_filter

    dark = minimum_filter(rgb.min(0), DARK_WINDOW)
    low, median = _percentiles(dark, 5, 50)
    return {
        "dark_mean": float(dark.mean()),
        "dark_median": median,
        "dark_low": low,
        "bright_high": _percentiles(maximum_filter(rgb.max(0), DARK_WINDOW), 95)[0],
    }


def _sharpness(grey: np.ndarray) -> dict[str, float]:
    """Energy and shape of Laplacian and gradient, and how much of them is left at half the size."""
    out: dict[str, float] = {}
    height, width = (side // 2 * 2 for side in grey.shape)
    half = grey[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    laplacian = _laplacian(grey)
    out["laplacian_variance"] = float(np.log10(laplacian.var() + 1e-8))
    out["laplacian_mean"] = float(np.abs(laplacian).mean())
    out["laplacian_skewness"], out["laplacian_kurtosis"] = _moments(laplacian)
    out["laplacian_half"] = float(np.log10((_laplacian(half).var() + 1e-8) / (laplacian.var() + 1e-8)))
    dx, dy = _gradient(grey)
    size = np.hypot(dx, dy)
    out["gradient_mean"] = float(np.log10(size.mean() + 1e-4))
    out["gradient_90"], out["gradient_99"] = _percentiles(size, 90, 99)
    out["gradient_kurtosis"] = _moments(dx)[1] + _moments(dy)[1]
    # the structure tensor of the whole picture: one direction in all (rain, motion) or none
    xx, yy, xy = float((dx * dx).mean()), float((dy * dy).mean()), float((dx * dy).mean())
    energy = xx + yy + 1e-8
    out["gradient_coherence"] = float(np.hypot(xx - yy, 2 * xy)) / energy
    out["gradient_cosine"], out["gradient_sine"] = (xx - yy) / energy, 2 * xy / energy
    out["gradient_half"] = float(np.log10((np.hypot(*_gradient(half)).mean() + 1e-4) / (size.mean() + 1e-4)))
    return out


def _codec(grey: np.ndarray) -> dict[str, float]:
    """Steps on the 8-px grid over those beside it (Wang et al. 2002), and the share of pixels without any step."""
    out: dict[str, float] = {}
    for name, picture in (("columns", grey), ("rows", grey.T)):
        step = np.abs(np.diff(picture, axis=1)).mean(0)
        on = step[BLOCK - 1 :: BLOCK].mean()
        beside = np.delete(step, np.s_[BLOCK - 1 :: BLOCK]).mean()
        out[f"blockiness_{name}"] = float((on - beside) / (beside + 1e-3))
    out["flat_share"] = float((np.abs(_laplacian(grey)) < 2 / 255).mean())
    return out


def _tones(rgb: np.ndarray, grey: np.ndarray) -> dict[str, float]:
    """Light, contrast and colour of the whole; colourfulness after Hasler & Suesstrunk 2003."""
    lightest, darkest = rgb.max(0), rgb.min(0)
    saturation = (lightest - darkest) / (lightest + 0.02)
    red_green, yellow_blue = rgb[0] - rgb[1], (rgb[0] + rgb[1]) / 2 - rgb[2]
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        **dict(zip(("luma_01", "luma_50", "luma_99"), _percentiles(grey, 1, 50, 99), strict=True)),
        "saturation": float(saturation.mean()),
        "saturation_spread": float(saturation.std()),
        "colourfulness": float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean())),
    }


def _laplacian(field: np.ndarray) -> np.ndarray:
    """Sum of the second differences down and across, without the border."""
    return np.diff(field, 2, axis=0)[:, 1:-1] + np.diff(field, 2, axis=1)[1:-1]


def _gradient(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forward differences to the right and down, of equal size."""
    return field[:-1, 1:] - field[:-1, :-1], field[1:, :-1] - field[:-1, :-1]


def _moments(field: np.ndarray) -> tuple[float, float]:
    """Skewness and logarithm of the kurtosis."""
    centred = field - field.mean()
    squared = centred * centred
    variance = float(squared.mean()) + 1e-9
    skewness = float((squared * centred).mean()) / variance**1.5
    return skewness, float(np.log10(float((squared * squared).mean()) / variance**2 + 0.1))


def _percentiles(field: np.ndarray, *percents: float) -> list[float]:
    return np.percentile(field, percents).tolist()
