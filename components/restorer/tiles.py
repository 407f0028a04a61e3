"""A restorer on photos of any size: overlapping tiles, blended seams, bounded memory.

    from components.restorer import tiles
    restored = tiles.restore(restorer, photo, condition, embedding)   # photo: (H, W, 3) uint8 or uint16

The photo stays in the integers it came in. Floating-point numbers exist for the tiles at work and for SLOPE rows of
the photo, where one row of tiles fades into the next.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional as F

from components.reasoner import spectrum
from components.restorer import deblur
from components.restorer.network import STRIDE, SURVEY_PX, Restorer, Whole

TILE, OVERLAP = 640, 64
# an inverse filter that is applied three times reaches far: it gets so many px more than the tile on every side
AROUND = 64
# two tiles fade into each other over this many px, in the middle of their overlap: what lies nearer to a tile's inner
# edge has seen too little of its surroundings to count
SLOPE = 16
# white, by type of pixel
WHITE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


@torch.inference_mode()
def restore(
    restorer: Restorer,
    photo: np.ndarray,
    condition: torch.Tensor,
    embedding: torch.Tensor | None,
    batch: int = 1,
    on_tile: Callable[[float], None] | None = None,
) -> np.ndarray:
    """(H, W, 3) uint8 or uint16 restored under (CONDITION,) and (D,) or None; the same type comes back.

    Up to `batch` tiles of equal size go through the network at once, on the device that `condition` lies on.
    `on_tile` hears after each tile which share in 0..1 of them is done; what it raises ends the work.
    """
    height, width = photo.shape[:2]
    white = WHITE[photo.dtype]
    out = np.empty_like(photo)
    rows, columns = spans(height), spans(width)
    seen = survey(photo).to(condition.device), prints(photo).to(condition.device)[None]
    # sums of the slopes between two rows of tiles, filled by the upper row and used up by the lower
    below = torch.zeros(3, SLOPE, columns[-1][1])
    done, many = 0, len(rows) * len(columns)
    for top, bottom in rows:
        beside = torch.zeros(3, 0, 0)
        places = [(top, bottom, left, right) for left, right in columns]
        tiles = _restored(restorer, photo, places, seen, condition, embedding, batch)
        for (left, right), tile in zip(columns, tiles, strict=True):
            first_row, last_row = top == 0, bottom == rows[-1][1]
            first, last = left == 0, right == columns[-1][1]
            y0, y1, down = _fade(top, bottom, first_row, last_row)
            x0, x1, across = _fade(left, right, first, last)
            piece = tile[:, y0 - top : y1 - top, x0 - left : x1 - left] * down[:, None] * across
            if not first:
                piece[..., :SLOPE] += beside
            if not last:
                beside, piece, x1 = piece[..., -SLOPE:].clone(), piece[..., :-SLOPE], x1 - SLOPE
            if not first_row:
                piece[:, :SLOPE] += below[..., x0:x1]
            if not last_row:
                below[..., x0:x1] = piece[:, -SLOPE:]
                piece, y1 = piece[:, :-SLOPE], y1 - SLOPE
            values = (piece * white).round().clamp(0, white).permute(1, 2, 0).numpy()
            inside = out[y0:y1, x0:x1]
            inside[:] = values[: inside.shape[0], : inside.shape[1]].astype(photo.dtype)
            done += 1
            if on_tile is not None:
                on_tile(done / many)
        _give_back()
    return out


def _give_back() -> None:
    """What the C library keeps of freed tiles, some 100 MiB, goes back to the system: others want it after us."""
    # of the GNU library alone
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _restored(
    restorer: Restorer,
    photo: np.ndarray,
    places: list[tuple[int, int, int, int]],
    seen: tuple[torch.Tensor, torch.Tensor],
    condition: torch.Tensor,
    embedding: torch.Tensor | None,
    batch: int,
) -> Iterator[torch.Tensor]:
    """The restored tiles (3, h, w) at `places` (top, bottom, left, right) in their order, `batch` at a time.

    `seen`: the whole photo shrunk, (1, 3, SURVEY_PX, SURVEY_PX), and its prints, (1, PRINTS).
    """
    height, width = photo.shape[:2]
    shrunk, printed = seen
    while places:
        top, bottom, left, right = places[0]
        group = [place for place in places[:batch] if place[3] - place[2] == right - left]
        places = places[len(group) :]
        pixels = torch.stack([_cut(photo, place) for place in group]).to(condition.device)
        # where the photo is padded, its window ends past the photo too
        ends = [(top / height, left / width, bottom / height, right / width) for _, _, left, right in group]
        many = len(group)
        restored = restorer(
            pixels.contiguous(memory_format=torch.channels_last),
            condition.expand(many, -1),
            None if embedding is None else embedding.expand(many, -1),
            whole=Whole(
                shrunk.expand(many, -1, -1, -1), torch.tensor(ends, device=condition.device), printed.expand(many, -1)
            ),
            sharpened=_joined([_sharpened(restorer, photo, place, condition, printed) for place in group]),
        )
        yield from restored.cpu()


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _sharpened(
    restorer: Restorer,
    photo: np.ndarray,
    place: tuple[int, int, int, int],
    condition: torch.Tensor,
    printed: torch.Tensor,
) -> torch.Tensor:
    """(1, SHARPENED, h, w) of one tile, made with AROUND px around it where the photo has them."""
    top, bottom, left, right = place
    height, width = (side + -side % STRIDE for side in photo.shape[:2])
    up, before = max(0, top - AROUND), max(0, left - AROUND)
    wide = _cut(photo, (up, min(height, bottom + AROUND), before, min(width, right + AROUND)))
    inside = slice(top - up, bottom - up), slice(left - before, right - before)
    return restorer.sharpen(wide[None].to(condition.device), condition[None], printed, inside)


def _cut(photo: np.ndarray, place: tuple[int, int, int, int]) -> torch.Tensor:
    """(3, h, w) float in [0, 1] of a photo; past its borders the last rows and columns are repeated."""
    top, bottom, left, right = place
    part = photo[top:bottom, left:right]
    part = np.pad(part, ((0, bottom - top - part.shape[0]), (0, right - left - part.shape[1]), (0, 0)), mode="edge")
    return torch.from_numpy(part.astype(np.float32) / WHITE[photo.dtype]).permute(2, 0, 1)


def spans(size: int) -> list[tuple[int, int]]:
    """Begin and end of the tiles along a side of `size` px, on the network's grid; the last may be shorter.

    Neighbours overlap by OVERLAP px exactly, so the weights of all tiles add up to 1 everywhere.
    """
    padded = size + -size % STRIDE
    if padded <= TILE:
        return [(0, padded)]
    return [(start, min(start + TILE, padded)) for start in range(0, padded - OVERLAP, TILE - OVERLAP)]


def _fade(start: int, end: int, first: bool, last: bool) -> tuple[int, int, torch.Tensor]:
    """From where to where a tile counts, and its weights there: slopes of SLOPE px but at the photo's border."""
    blind = (OVERLAP - SLOPE) // 2
    start, end = (start if first else start + blind), (end if last else end - blind)
    weights = torch.ones(end - start)
    slope = (torch.arange(SLOPE) + 0.5) / SLOPE
    if not first:
        weights[:SLOPE] = slope
    if not last:
        weights[-SLOPE:] = 1 - slope
    return start, end, weights


def survey(photo: np.ndarray) -> torch.Tensor:
    """(1, 3, SURVEY_PX, SURVEY_PX) in [0, 1]: a photo (H, W, 3) as `network.shrunk` shrinks it, band by band."""
    height = len(photo)
    bands = [(i * height // SURVEY_PX, -(-(i + 1) * height // SURVEY_PX)) for i in range(SURVEY_PX)]
    rows = np.stack([photo[top:bottom].mean(0, dtype=np.float32) for top, bottom in bands])
    across = torch.from_numpy(rows / WHITE[photo.dtype]).permute(2, 0, 1)[None]
    return F.interpolate(across, size=(SURVEY_PX, SURVEY_PX), mode="area")


def prints(photo: np.ndarray) -> torch.Tensor:
    """(PRINTS,): `deblur.prints` of a photo (H, W, 3), of which only the windows are unpacked."""
    side, corners = spectrum.places(*photo.shape[:2])
    return deblur.of_windows([_cut(photo, (top, top + side, left, left + side)) for top, left in corners])
