"""What the reasoner looks at: a thumbnail of the whole photo, and native-resolution views, with their evidence.

Shrinking a photo hides noise, compression and small blur, so each view is a crop at native resolution, on the
16-pixel grid (which keeps the 8-pixel grid of JPEG in place), beside three pictures of *evidence* computed from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from components.annotation.windows import mean_near, mean_of_nine, most_near
from components.reasoner import gauges, streaks

PATCH, MERGE, FRAMES = 16, 2, 2  # fixed by Qwen3-VL: patch size, spatial merge, temporal patch size
GRID = 16
LARGE_PX = 2048  # the whole of a photo of twice this or more is looked at shrunk
BAND_PX = 256  # rows of a very large photo that are shrunk at once
NEAR = 9
STREAKS_PX = gauges.WINDOW // streaks.CELL


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """(3, H, W) float in [0, 1] from (H, W, 3) uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def at_least(image: torch.Tensor, size: int) -> torch.Tensor:
    """The picture, its last rows and columns repeated until both sides measure `size` px."""
    height, width = image.shape[-2:]
    if min(height, width) >= size:
        return image
    return F.pad(image[None], (0, max(0, size - width), 0, max(0, size - height)), mode="replicate")[0]


def thumbnail(image: torch.Tensor, size: int) -> torch.Tensor:
    """(6, size, size): the whole photo by area averaging, its shape ignored, and what averaging hides.

    The other three channels are the brightest spot of each cell (a night scene has lights, an underexposed one has
    not), its darkest channel's least value (haze lifts it everywhere), and its spread (times four).
    """
    # a channel after the other in memory, which is several times as fast
    planes = image.contiguous()
    mean = F.interpolate(planes[None], size=(size, size), mode="area")[0]
    grey = planes.mean(0, keepdim=True)
    lightest = _extreme(grey, size, np.max)
    darkest = _extreme(planes.amin(0, keepdim=True), size, np.min)
    squares = F.interpolate((grey * grey)[None], size=(size, size), mode="area")[0]
    spread = (squares - mean.mean(0, keepdim=True) ** 2).clamp(min=0).sqrt()
    return torch.cat([mean, lightest, darkest, (4 * spread).clamp(0, 1)])


def _extreme(plane: torch.Tensor, size: int, extreme: Callable[..., np.ndarray]) -> torch.Tensor:
    """(1, size, size): greatest or least value of each cell of (1, H, W); cells as adaptive_max_pool2d has them."""
    field = plane.numpy()
    for axis in (1, 2):
        length = field.shape[axis]
        ends = -(-np.arange(1, size + 1) * length // size)
        starts = np.arange(size) * length // size
        places = np.minimum(starts[:, None] + np.arange((ends - starts).max()), ends[:, None] - 1)
        field = extreme(np.take(field, places, axis), axis=axis + 1)
    return torch.from_numpy(field)


def view_corners(height: int, width: int, crop: int, views: int) -> list[tuple[int, int]]:
    """(top, left) of up to `views` crops: the centre first, then around it, all on the 16-pixel grid."""
    shares = (
        (0.5, 0.5),
        (0.2, 0.2),
        (0.8, 0.8),
        (0.8, 0.2),
        (0.2, 0.8),
        (0.5, 0.1),
        (0.5, 0.9),
        (0.1, 0.5),
        (0.9, 0.5),
    )
    corners: list[tuple[int, int]] = []
    for down, right in shares:
        corner = tuple(
            int(share * max(0, side - crop)) // GRID * GRID for share, side in ((down, height), (right, width))
        )
        if corner not in corners:
            corners.append((corner[0], corner[1]))
    return corners[:views]


def evidence(crop: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three pictures of evidence, each (B, 3, H, W) in [0, 1], for crops (B, 3, H, W) on the 8-pixel grid.

    Light: sqrt of the absolute high-pass (noise, streaks); white top-hat of the darkest channel (rain and snow
    are bright, thin and colourless); local minimum of all channels (haze: the dark channel of He et al. 2009).
    Detail: strongest gradient near by (blur has none); excess of the steps on the codec's 8-pixel grid over the
    steps beside it (JPEG); the least high-pass near by (noise leaves no place flat).
    Direction: the structure tensor's orientation as cosine and sine of the double angle, and its coherence
    (rain, motion).
    """
    grey = crop.mean(1, keepdim=True)
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    residual = (1.6 * (grey - mean_of_nine(grey)).abs().sqrt()).clamp(0, 1)
    darkest = crop.amin(1, keepdim=True)
    eroded = -most_near(-darkest, NEAR)
    top_hat = (2.5 * (darkest - most_near(eroded, NEAR))).clamp(0, 1)
    light = torch.cat([residual, top_hat, eroded], 1)
    dx = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    dy = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    sharpest = most_near(dx.abs() + dy.abs(), NEAR).clamp(0, 1)
    blocks = 0.5 * (_grid_excess(grey) + _grid_excess(grey.transpose(-1, -2)).transpose(-1, -2))
    floor = (2 * -most_near(-mean_of_nine(residual), NEAR)).clamp(0, 1)
    detail = torch.cat([sharpest, blocks, floor], 1)
    xx, yy, xy = mean_near(torch.cat([dx * dx, dy * dy, dx * dy], 1), NEAR).split(1, 1)
    energy = xx + yy + 1e-4
    direction = [0.5 + 0.5 * (xx - yy) / energy, 0.5 + xy / energy, torch.hypot(xx - yy, 2 * xy) / energy]
    return light, detail, torch.cat(direction, 1)


def _grid_excess(grey: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W) in [0, 1], constant in 8 x 8 blocks: how much steps between columns 8k-1 and 8k stand out."""
    step = F.pad((grey[..., 1:] - grey[..., :-1]).abs(), (0, 1, 0, 0), mode="replicate")
    step = F.avg_pool2d(step, (8, 1))
    on, beside = step[..., 7::8], 0.5 * (step[..., 5::8] + step[..., 1::8])
    excess = 0.5 + 0.5 * (on - beside) / (on + beside + 0.01)
    return excess.repeat_interleave(8, -1).repeat_interleave(8, -2)


def patchify(pictures: torch.Tensor, frames: int = FRAMES) -> torch.Tensor:
    """(B, patches, 3 * 2 * 16 * 16): pictures (B, 3, H, W) in [0, 1] as Qwen3-VL's image processor lays them out.

    Values become [-1, 1], the still picture is repeated as both `frames`, and patches stand in blocks of 2 x 2.
    """
    batch, channels, height, width = pictures.shape
    rows, columns = height // PATCH // MERGE, width // PATCH // MERGE
    blocks = (pictures * 2 - 1).view(batch, channels, rows, MERGE, PATCH, columns, MERGE, PATCH)
    blocks = blocks.permute(0, 2, 5, 3, 6, 1, 4, 7)  # rows, columns, 2, 2, channel, 16, 16
    blocks = blocks.unsqueeze(-3).expand(*blocks.shape[:-2], frames, PATCH, PATCH)
    return blocks.reshape(batch, rows * columns * MERGE**2, -1)


@dataclass(frozen=True)
class Views:
    """What the reasoner gets of V views, in [0, 1].

    Thumbnails (V, 6, t, t), gauges (V, BARS), crops (V, 3, c, c), streaks (V, 3, STREAKS_PX, STREAKS_PX).
    """

    thumbnails: torch.Tensor
    gauges: torch.Tensor
    crops: torch.Tensor
    streaks: torch.Tensor

    def __len__(self) -> int:
        return len(self.crops)

    @staticmethod
    def joined(parts: list[Views]) -> Views:
        """The views of several photos, one after another."""
        fields = zip(*((own.thumbnails, own.gauges, own.crops, own.streaks) for own in parts), strict=True)
        return Views(*(torch.cat(field) for field in fields))


def look(views: Views, frames: int = FRAMES) -> torch.Tensor:
    """(V, patches, values) of the nine pictures of V views, each repeated as so many `frames`.

    Thumbnail and its evidence, gauges, crop and its three pictures of evidence, streaks in the crop's surroundings,
    the gauges of their spectrum.
    """
    thumbnails = views.thumbnails.split(3, 1)
    first, second = (gauges.chart(values) for values in views.gauges.split(gauges.CHART, 1))
    pictures = (*thumbnails, first, views.crops, *evidence(views.crops), views.streaks, second)
    return torch.cat([patchify(picture, frames) for picture in pictures], 1)


def grid_thw(thumbnail_px: int, crop_px: int) -> list[list[int]]:
    """Patch grids (frames, rows, columns) of the nine pictures of a view."""
    sides = [(thumbnail_px, thumbnail_px)] * 2 + [gauges.CHART_PX] + [(crop_px, crop_px)] * 4
    sides += [(STREAKS_PX, STREAKS_PX), gauges.CHART_PX]
    return [[1, height // PATCH, width // PATCH] for height, width in sides]


def views_of(image: np.ndarray, thumbnail_px: int, crop_px: int, views: int) -> Views:
    """Up to `views` views of a photo (H, W, 3) uint8 of any size.

    Each crop is measured with what lies around it, up to a window of gauges.WINDOW, at native resolution; thumbnail
    and tones are those of the whole photo, which is first halved, or thirded, ... where it is very large.
    """
    native = image
    if min(image.shape[:2]) < crop_px:
        missing = [(0, max(0, crop_px - side)) for side in image.shape[:2]]
        native = np.pad(image, (*missing, (0, 0)), mode="edge")
    height, width = native.shape[:2]
    factor = max(height, width) // LARGE_PX
    whole = to_tensor(native if factor < 2 else reduced(native, factor))
    planes = whole.contiguous()
    corners = view_corners(height, width, crop_px, views)
    spots = [
        tuple(
            max(0, min(side - gauges.WINDOW, (at + (crop_px - gauges.WINDOW) // 2) // GRID * GRID))
            for at, side in ((top, height), (left, width))
        )
        for top, left in corners
    ]
    unique = sorted(set(spots))
    windows = _cut(native, unique, gauges.WINDOW)
    small = shrunk(planes, gauges.WINDOW)
    # gauges sum in the order of memory, which is that of the photo where nothing was shrunk
    read, seen = measured((whole if small is planes else small)[None], windows)
    crops = _cut(native, corners, crop_px)
    own = [unique.index(spot) for spot in spots]
    return Views(thumbnail(planes, thumbnail_px).expand(len(crops), -1, -1, -1), read[own], crops, seen[own])


def reduced(image: np.ndarray, factor: int) -> np.ndarray:
    """(H, W, 3) uint8 at a `factor`th of its size, by Pillow, which would need a third more than the photo itself:
    band by band, with the same result."""
    band = factor * max(1, BAND_PX // factor)
    starts = range(0, len(image), band)
    return np.concatenate([np.asarray(Image.fromarray(image[at : at + band]).reduce(factor)) for at in starts])


def _cut(image: np.ndarray, corners: Sequence[tuple[int, ...]], size: int) -> torch.Tensor:
    """(N, 3, h, w) in [0, 1] of at most `size` px each at (top, left) corners of a photo (H, W, 3) uint8."""
    cuts = [image[top : top + size, left : left + size].transpose(2, 0, 1) for top, left in corners]
    return torch.from_numpy(np.stack(cuts)).float().div_(255)


def measured(whole: torch.Tensor, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gauges (B, BARS) and streaks (B, 3, STREAKS_PX, STREAKS_PX) of windows (B, 3, H, W) of gauges.WINDOW px at most.

    `whole` (B or 1, 3, h, w) are the photos they were cut from, shrunk. Where a window is smaller, black is added.
    """
    read, seen = [], []
    for start in range(0, len(windows), gauges.PER_PASS):
        part = slice(start, start + gauges.PER_PASS)
        found = streaks.find(windows[part])
        read.append(gauges.read(whole if len(whole) == 1 else whole[part], windows[part], found))
        seen.append(streaks.picture(found))
    height, width = seen[0].shape[-2:]
    return torch.cat(read), F.pad(torch.cat(seen), (0, STREAKS_PX - width, 0, STREAKS_PX - height))


def shrunk(image: torch.Tensor, size: int) -> torch.Tensor:
    """(3, h, w): the photo with sides of at most `size` px, by area averaging, its shape ignored."""
    sides = (min(image.shape[-2], size), min(image.shape[-1], size))
    if sides == tuple(image.shape[-2:]):
        return image
    return F.interpolate(image.contiguous()[None], size=sides, mode="area")[0]
