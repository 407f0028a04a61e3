"""Drops and flakes drawn one by one, at positions between the pixels, into fields of opacity.

Everything is summed in integers (fixed point), so that the order of adding, the number of threads and the processor
do not matter. More particles of the same generator are the same ones and some more.
"""

from __future__ import annotations

import math

import torch

# fixed point: this many units make an opacity of 1
ONE = 1 << 16
# particles are drawn in groups of this many values, which bounds the memory
GROUP_VALUES = 1 << 18


def split(generator: torch.Generator, count: int) -> list[torch.Generator]:
    """Generators of their own for `count` layers: what one layer draws leaves the others as they were."""
    seeds = torch.randint(2**31, (count,), generator=generator, device=generator.device).tolist()
    return [torch.Generator(generator.device).manual_seed(seed) for seed in seeds]


class Field:
    """Opacity of (height, width) px that grows particle by particle.

    Particles stand up to `border` px outside and reach at most `reach` px from where they stand; the margin for both
    makes tests for the picture's edges needless.
    """

    def __init__(self, height: int, width: int, border: float, reach: float, device: torch.device) -> None:
        self.height, self.width, self.border = height, width, border
        self.margin = math.ceil(border + reach) + 2
        self.row = width + 2 * self.margin
        self.sums = torch.zeros((height + 2 * self.margin) * self.row, dtype=torch.int32, device=device)

    def scatter(self, density: float, area_px: float, generator: torch.Generator) -> torch.Tensor:
        """(N, 6): y and x in px over the picture and its border, then four draws from U(0, 1).

        N is how many particles of `area_px` cover the share `density`, at least one.
        """
        height, width = self.height + 2 * self.border, self.width + 2 * self.border
        count = max(1, round(density * height * width / area_px))
        draws = torch.rand((count, 6), generator=generator, device=generator.device)
        draws[:, 0].mul_(height).sub_(self.border)
        draws[:, 1].mul_(width).sub_(self.border)
        return draws

    def draw_strokes(
        self, place: torch.Tensor, angle: torch.Tensor, length: torch.Tensor, width: float, opacity: torch.Tensor
    ) -> None:
        """Add straight strokes: middle (N, 2) as (y, x), angle (N,) in radians from the vertical, length (N,) in px.

        Strokes of `opacity` (N,) fade towards their ends, as a drop does that enters and leaves the exposure.
        """
        device = self.sums.device
        # samples along the stroke at most a pixel apart, in enough parallel lines to make the width
        along = max(2, math.ceil(float(length.max())) + 1)
        lines = max(1, math.ceil(width))
        places = (torch.arange(along, dtype=torch.float32, device=device) + 0.5) / along - 0.5
        fade = (6 * (0.5 - places.abs())).clamp(max=1)
        side = ((torch.arange(lines, dtype=torch.float32, device=device) + 0.5) / lines - 0.5) * (width - width / lines)
        # in double precision: a last bit that differs between processors then drowns in the fixed point
        sine, cosine = (f(angle.double()).float()[:, None, None] for f in (torch.sin, torch.cos))
        run = length[:, None, None] * places[None, :, None]
        y = place[:, 0, None, None] - run * cosine + side * sine
        x = place[:, 1, None, None] + run * sine + side * cosine
        # light per sample: a stroke of full opacity and width w carries w * length
        each = (length * opacity * (min(width, lines) / lines / along * ONE))[:, None, None] * fade[None, :, None]
        self._splat(y, x, each)

    def _splat(self, y: torch.Tensor, x: torch.Tensor, amount: torch.Tensor) -> None:
        """Share each amount out over the four pixels around its place."""
        top, left = y.floor(), x.floor()
        down, right = y - top, x - left
        # in integers: a float cannot count the pixels of a large photo
        place = (top.to(torch.int32) + self.margin) * self.row + (left.to(torch.int32) + self.margin)
        lower = amount * down
        upper = amount - lower
        for shift, share in ((0, upper), (self.row, lower)):
            second = share * right
            for step, value in ((0, share - second), (1, second)):
                self.sums.index_add_(0, (place + (shift + step)).flatten(), value.to(torch.int32).flatten())

    def draw_flakes(
        self, place: torch.Tensor, radius: torch.Tensor, soft: float, motion: float, angle: float, opacity: torch.Tensor
    ) -> None:
        """Add soft disks drawn out by motion: centre (N, 2) as (y, x) and radius (N,) in px, opacity (N,).

        `soft` px over which the rim fades (defocus), `motion` px of travel during the exposure at `angle` radians
        from the vertical.
        """
        step_y, step_x = -math.cos(angle), math.sin(angle)
        reach = float(radius.max()) + soft / 2
        rows, columns = (math.ceil(reach + abs(step) * motion / 2) + 1 for step in (step_y, step_x))
        device = self.sums.device
        dy = torch.arange(-rows, rows + 1, device=device, dtype=torch.float32)[None, :, None]
        dx = torch.arange(-columns, columns + 1, device=device, dtype=torch.float32)[None, None, :]
        patch = dy.to(torch.int32) * self.row + dx.to(torch.int32)
        group = max(1, GROUP_VALUES // patch.numel())
        for first in range(0, len(place), group):
            chosen = slice(first, first + group)
            size = radius[chosen, None, None]
            top, left = (place[chosen, axis, None, None].floor() for axis in (0, 1))
            y, x = dy - (place[chosen, 0, None, None] - top), dx - (place[chosen, 1, None, None] - left)
            # square of the distance to the path of the centre: across it, and along it beyond its ends
            along = (y * step_y + x * step_x).abs_().sub_(motion / 2).clamp_(min=0)
            across = y * step_x - x * step_y
            distance = across.mul_(across).add_(along.mul_(along)).sqrt_()
            cover = distance.neg_().add_(size + soft / 2).mul_(1 / soft).clamp_(0, 1)
            # a flake in motion spends its opacity over its path
            value = cover.mul_(opacity[chosen, None, None] * (size * 2 / (size * 2 + motion)) * ONE).to(torch.int32)
            corner = (top.to(torch.int32) + self.margin) * self.row + (left.to(torch.int32) + self.margin)
            index = corner + patch
            self.sums.index_add_(0, index.flatten(), value.flatten())

    def opacity(self) -> torch.Tensor:
        """(height, width) float in [0, 1]."""
        inner = self.sums.view(-1, self.row)[self.margin : -self.margin, self.margin : -self.margin]
        return inner.clamp(max=ONE).float().div_(ONE)
