"""A restorer on photos of any size: overlapping tiles, blended seams, bounded memory."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from components.restorer.deblur import fingerprint
from components.restorer.network import STRIDE, Restorer, Whole, shrunk

TILE, OVERLAP = 640, 96
# what lies this near to a tile's inner edge has seen too little of its surroundings to count
BLIND = 40


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
    photo, prints = shrunk(image[None]), fingerprint(image)[None]
    for top in rows:
        for left in columns:
            tile = padded[:, top : top + TILE, left : left + TILE]
            ends = (top / height, left / width, (top + tile.shape[-2]) / height, (left + tile.shape[-1]) / width)
            whole = Whole(photo, torch.tensor([ends], device=image.device), prints)
            pixels = tile[None].contiguous(memory_format=torch.channels_last)
            restored = restorer(pixels, condition, embedding, whole=whole)[0]
            ramp = _ramp(top, tile.shape[-2], padded.shape[-2])[:, None] * _ramp(left, tile.shape[-1], padded.shape[-1])
            ramp = ramp.to(image.device)
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


def _ramp(start: int, size: int, total: int) -> torch.Tensor:
    """(size,) weights of a tile at `start`: 1 inside and at the photo's border, a slope where tiles overlap."""
    position = torch.arange(size) + 0.5
    before = torch.full((size,), float(OVERLAP)) if start == 0 else position
    after = torch.full((size,), float(OVERLAP)) if start + size == total else size - position
    return ((torch.minimum(before, after) - BLIND) / (OVERLAP - 2 * BLIND)).clamp(0, 1)
