"""EXIF orientation: pixels go to their upright places as they are read, without a second copy of the photo.

from components.photos.orientation import canvas
"""

from __future__ import annotations

import numpy as np


def canvas(shape: tuple[int, ...], dtype: type | np.dtype, orientation: int) -> tuple[np.ndarray, np.ndarray]:
    """An empty upright picture for one stored as `shape` (H, W, ...), and a view of it that lies as in the file.

    `orientation` 1 to 8 as in EXIF; any other counts as 1.
    """
    lies_down = orientation in (5, 6, 7, 8)
    upright = np.empty((shape[1], shape[0], *shape[2:]) if lies_down else shape, dtype)
    stored = upright.swapaxes(0, 1) if lies_down else upright
    rows, columns = -1 if orientation in (3, 4, 6, 7) else 1, -1 if orientation in (2, 3, 7, 8) else 1
    return upright, stored[::rows, ::columns]
