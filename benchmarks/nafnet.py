"""NAFNet, the plain network that restorers are measured against, for benchmarks/ablation.py.

Written from the paper: Chen, Chu, Zhang and Sun, Simple Baselines for Image Restoration, ECCV 2022. Blocks of
normalisation, a depthwise convolution between two of 1x1, products of halves instead of activations, and simplified
channel attention, in a U whose width doubles with every halving of the size. It knows no diagnosis.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def gated(x: torch.Tensor) -> torch.Tensor:
    """The product of the two halves of the channels."""
    first, second = x.chunk(2, 1)
    return first * second


class NAFBlock(nn.Module):
    """(B, width, h, w) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, 1, 1, groups=2 * width)
        self.attend, self.narrow = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.forth, self.back = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(width, width, 1)
        # each branch begins as nothing
        self.scales = nn.Parameter(torch.zeros(2, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = gated(self.depthwise(self.widen(self._normed(0, x))))
        x = x + self.narrow(y * self.attend(y.mean((2, 3), keepdim=True))) * self.scales[0, :, None, None]
        return x + self.back(gated(self.forth(self._normed(1, x)))) * self.scales[1, :, None, None]

    def _normed(self, which: int, x: torch.Tensor) -> torch.Tensor:
        return self.norms[which](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NAFNet(nn.Module):
    """(B, 3, H, W) in [0, 1] to the restored picture; H and W are multiples of 2 ** len(down).

    `down`, `up`: blocks on the way down and up, `middle`: between them.
    """

    def __init__(self, width: int, down: tuple[int, ...], middle: int, up: tuple[int, ...]) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        wide = [width << level for level in range(len(down) + 1)]
        self.encoders = nn.ModuleList(_blocks(w, count) for w, count in zip(wide, down, strict=False))
        self.halve = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, 2) for w in wide[:-1])
        self.middle = _blocks(wide[-1], middle)
        self.enlarge = nn.ModuleList(nn.Conv2d(2 * w, 4 * w, 1, bias=False) for w in reversed(wide[:-1]))
        self.decoders = nn.ModuleList(_blocks(w, count) for w, count in zip(reversed(wide[:-1]), up, strict=True))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x, kept = self.enter(image), []
        for encoder, halve in zip(self.encoders, self.halve, strict=True):
            x = encoder(x)
            kept.append(x)
            x = halve(x)
        x = self.middle(x)
        for enlarge, decoder in zip(self.enlarge, self.decoders, strict=True):
            x = decoder(F.pixel_shuffle(enlarge(x), 2) + kept.pop())
        return image + self.leave(x)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(width) for _ in range(count)))
