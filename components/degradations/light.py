"""Light and random numbers that the degradations share.

Images are float tensors (B, 3, H, W) in [0, 1], sRGB unless a name says linear. Every sample brings its own
parameters and its own `torch.Generator`, so that a sample never depends on its batch.

Curves are looked up in tables made in double precision, and normal deviates come from integers through a table of
quantiles: the exponentials of vector units differ in the last bit from processor to processor, these do not.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

# of each sample of a batch: its parameters, and the generator of whatever is drawn for it
Params = Sequence[dict]
Generators = Sequence[torch.Generator]
# entries of the tables: as many as keep within the last bit of 8, and no more, for small ones stay in fast memory
TABLE, SRGB_TABLE, LINEAR_TABLE = 65536, 4096, 16384
# exp(-x) is looked up for x in [0, DEEPEST]
DEEPEST = 8.0


def look_up(values: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Nearest entry of `table` (N,), sampled evenly over [0, 1], for values in [0, 1] of any shape."""
    index = (values * (len(table) - 1)).add_(0.5).to(torch.int32)
    return table.to(values.device).index_select(0, index.reshape(-1)).view(values.shape)


def curve_table(function: Callable[[np.ndarray], np.ndarray], size: int = TABLE) -> torch.Tensor:
    """(size,) float32 of a function of [0, 1], evaluated in double precision."""
    return torch.from_numpy(function(np.linspace(0, 1, size)).astype(np.float32))


def _srgb_to_linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


@functools.cache
def _table(name: str) -> torch.Tensor:
    if name == "to_linear":
        return curve_table(_srgb_to_linear, SRGB_TABLE)
    if name == "to_srgb":
        return curve_table(_linear_to_srgb, LINEAR_TABLE)
    if name == "decay":
        return curve_table(lambda share: np.exp(-DEEPEST * share))
    # the middle of each of 65536 equally likely slices, scaled to unit variance
    quantiles = torch.special.ndtri((torch.arange(TABLE, dtype=torch.float64) + 0.5) / TABLE)
    return (quantiles / quantiles.square().mean().sqrt()).float()


def to_linear(srgb: torch.Tensor) -> torch.Tensor:
    """sRGB in [0, 1] to linear light (IEC 61966-2-1), within 2e-4 of the sRGB value."""
    return look_up(srgb, _table("to_linear"))


def to_srgb(linear: torch.Tensor) -> torch.Tensor:
    """Linear light to sRGB (IEC 61966-2-1), clipped to [0, 1], within 4e-4."""
    return look_up(linear.clamp(0, 1), _table("to_srgb"))


def respond(linear: torch.Tensor, gammas: Sequence[float]) -> torch.Tensor:
    """sRGB of linear light (B, 3, H, W) whose sample i was bent by the exponent gammas[i]."""
    linear = linear.clamp(0, 1)
    rows = []
    for light, gamma in zip(linear, gammas, strict=True):
        rows.append(look_up(light, curve_table(functools.partial(_bent, gamma=gamma), LINEAR_TABLE)))
    return torch.stack(rows)


def _bent(linear: np.ndarray, gamma: float) -> np.ndarray:
    return _linear_to_srgb(linear**gamma)


def decay(depth: torch.Tensor) -> torch.Tensor:
    """exp(-depth) for an optical depth of any shape, at least 0; nothing is left beyond DEEPEST."""
    return look_up((depth / DEEPEST).clamp(0, 1), _table("decay"))


def from_bytes(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """(B, 3, H, W) float in [0, 1], colours apart and whole in memory, of pictures (H, W, 3) uint8 of one size."""
    out = np.empty((len(pictures), 3, *pictures[0].shape[:2]), np.uint8)
    for planes, picture in zip(out, pictures, strict=True):
        for channel in range(3):
            planes[channel] = picture[..., channel]
    return torch.from_numpy(out).float().div_(255)


def to_bytes(images: torch.Tensor) -> np.ndarray:
    """(B, H, W, 3) uint8 of pictures (B, 3, H, W) in [0, 1], rounded."""
    values = (images * 255).add_(0.5).to(torch.uint8).cpu().numpy()
    # colour by colour is the fastest way to lay them side by side
    out = np.empty((values.shape[0], *values.shape[2:], values.shape[1]), np.uint8)
    for channel in range(values.shape[1]):
        out[..., channel] = values[:, channel]
    return out


def luma(image: torch.Tensor) -> torch.Tensor:
    """(..., H, W) Rec. 709 weighted sum of the channels of (..., 3, H, W)."""
    return 0.2126 * image[..., 0, :, :] + 0.7152 * image[..., 1, :, :] + 0.0722 * image[..., 2, :, :]


def column(params: Sequence[dict], name: str, like: torch.Tensor) -> torch.Tensor:
    """(B, C, 1, 1) of one parameter of each sample; C is the length of its value, 1 for a number."""
    values = torch.tensor([p[name] if isinstance(p[name], list) else [p[name]] for p in params], dtype=torch.float32)
    return values[:, :, None, None].to(like.device)


def normal(shape: Sequence[int], generators: Sequence[torch.Generator]) -> torch.Tensor:
    """(B, *shape) normal deviates, sample i from generators[i] and on its device; cut off at 4.3 sigma."""
    count = math.prod(shape)
    rows = []
    for generator in generators:
        bits = torch.empty(-(-count // 4), dtype=torch.int64, device=generator.device)
        bits.random_(-(2**63), None, generator=generator)
        index = bits.view(torch.int16)[:count].to(torch.int32).add_(TABLE // 2)
        rows.append(_table("normal").to(generator.device).index_select(0, index).view(*shape))
    return torch.stack(rows) if len(rows) > 1 else rows[0][None]


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """One number from U(low, high), rounded to 6 digits so that a recipe in JSON replays exactly."""
    return round(low + (high - low) * float(torch.rand((), generator=generator)), 6)


def choice(generator: torch.Generator, options: tuple[str, ...]) -> str:
    return options[int(torch.randint(len(options), (), generator=generator))]
