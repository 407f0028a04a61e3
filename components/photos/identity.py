"""What makes a picture this picture: its name by content, its likeness to others, its size in the set."""

from __future__ import annotations

import hashlib
from collections.abc import Container

import numpy as np
from PIL import Image

# Bits of the 64-bit difference hash by which two shots of one picture may differ (sizes, recompression).
NEAR_DUPLICATE_BITS = 4


def shrink(pixels: np.ndarray, longest_side: int) -> np.ndarray:
    """(H, W, 3) uint8 with its longer side at most `longest_side`; never enlarged."""
    height, width = pixels.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def photo_id(pixels: np.ndarray) -> str:
    """12 hex digits that name a picture by its content, not by its file."""
    digest = hashlib.sha256(f"{pixels.shape[1]}x{pixels.shape[0]}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()[:12]


def difference_hash(pixels: np.ndarray) -> int:
    """64 bits: is each of 8x8 grey cells darker than its right neighbour? Survives scaling and recompression."""
    cells = np.asarray(Image.fromarray(pixels).convert("L").resize((9, 8), Image.Resampling.BOX))
    return int("".join("1" if bit else "0" for bit in (cells[:, 1:] > cells[:, :-1]).ravel()), 2)


def distinct(rows: list[dict], recorded: Container[str]) -> tuple[list[dict], list[dict]]:
    """The rows to keep, in the order of photo_id, and the quarantine rows of their duplicates.

    Of near duplicates one that is `recorded` in the ledger is kept, so that no new photo ousts it from its split;
    then the largest, then one with a known scene; files are not compared by their place in a listing.
    """
    best_first = sorted(
        rows,
        key=lambda r: (
            r["photo_id"] not in recorded,
            -r["area"],
            r["scene"] == "",
            r["photo_id"],
            # a copy is called "IMG_1 (1).jpg": that must not rename IMG_1.jpg in its shard
            len(r["name"]),
            r["name"],
            r["source"],
        ),
    )
    kept: list[dict] = []
    dropped: list[dict] = []
    for row in best_first:
        twin = next((k for k in kept if (k["hash"] ^ row["hash"]).bit_count() <= NEAR_DUPLICATE_BITS), None)
        if twin is None:
            kept.append(row)
            continue
        kind = "duplicate" if twin["photo_id"] == row["photo_id"] else "near duplicate"
        dropped.append({"name": row["name"], "source": row["source"], "reason": f"{kind} of {twin['name']}"})
    return sorted(kept, key=lambda row: row["photo_id"]), dropped
