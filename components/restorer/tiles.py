"""A restorer on photos of any size: overlapping tiles, blended seams, bounded memory."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from components.restorer.network import STRIDE, Restorer

TILE, OVERLAP = 640, 64


def restore(
    restorer: Restorer, image: torch.Tensor, condition: torch.Tensor, embedding: torch.Tensor | None
) -> torch.Tensor:
    """(3, H, W) in [0, 1] restored under (CONDITION,) and (D,); tiles larger than TILE never exist in memory."""
    height, width = image.shape[-2:]
    padded = F.pad(image[None], (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")[0]
    total = torch.zeros_like(padded)
    weight = torch.zeros_like(padded[:1])
    rows, columns = _starts(padded.shape[-2]), _starts(padded.shape[-1])
    condition = condition[None]
    embedding = None if embedding is None else embedding[None]
    for top in rows:
        for left in columns:
            tile = padded[:, top : top + TILE, left : left + TILE]
            restored = restorer(tile[None].contiguous(memory_format=torch.channels_last), condition, embedding)[0]
            ramp = _ramp(tile.shape[-2], image.device)[:, None] * _ramp(tile.shape[-1], image.device)[None, :]
            total[:, top : top + TILE, left : left + TILE] += restored * ramp
            weight[:, top : top + TILE, left : left + TILE] += ramp
    return (total / weight)[:, :height, :width].clamp(0, 1)


def _starts(size: int) -> list[int]:
    if size <= TILE:
        return [0]
    step = TILE - OVERLAP
    starts = list(range(0, size - TILE, step))
    # the last tile ends at the border, on the stride's grid
    return [*starts, size - TILE]


def _ramp(size: int, device) -> torch.Tensor:
    """(size,) weights that rise over the overlap at both ends, so that neighbours blend."""
    position = torch.arange(size, device=device) + 0.5
    edge = torch.minimum(position, size - position)
    return (edge / OVERLAP).clamp(max=1)
