"""Gauges: every degradation moves the one that is there for it, whatever company a picture is measured in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.degradations.recipe import apply_recipe, make_step
from components.reasoner import gauges, pictures, streaks

# type: (gauge, the direction in which damage moves it)
MOVED = {
    "haze": ("dark0.5", 1),
    "snow": ("hat_bright/2", 1),
    "low_light": ("luma0.5", -1),
    "blur": ("steep0.5/1", -1),
    "noise": ("grain_grey/1", 1),
    "jpeg": ("grid_columns", 1),
}


def window(photo: np.ndarray) -> torch.Tensor:
    return pictures.to_tensor(photo)[None, :, : gauges.WINDOW, : gauges.WINDOW]


@pytest.mark.parametrize("kind", MOVED)
def test_damage_moves_its_gauge(kind, photos):
    name, direction = MOVED[kind]
    place = gauges.scale()[0].index(name)
    for photo in photos:
        harmed = apply_recipe(photo, [make_step(kind, 0.8, torch.Generator().manual_seed(1))])
        before, after = (pictures.measured(window(p), window(p))[0][0, place] for p in (photo, harmed))
        assert direction * float(after - before) > 0.02


def test_rain_gives_bright_ridges_one_direction(photos):
    """Strength of the double angle's mean: one for parallel lines, none for lines of all directions."""
    flat = np.full_like(photos[0], 90)
    step = make_step("rain", 0.8, torch.Generator().manual_seed(1))
    rainy = window(apply_recipe(flat, [step]))
    raw = gauges.measure(rainy, rainy, streaks.find(rainy))
    assert float(torch.hypot(raw["ridge_bright_cos2/1"], raw["ridge_bright_sin2/1"])) > 0.5


def test_a_picture_is_measured_the_same_in_any_company(photos):
    batch = torch.cat([window(photo) for photo in photos] * 3)
    together, _ = pictures.measured(batch, batch)
    assert together.shape == (len(batch), gauges.BARS)
    assert float(together.min()) >= 0 and float(together.max()) <= 1
    alone = torch.cat([pictures.measured(one[None], one[None])[0] for one in batch])
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("size", [(96, 96), (96, 700), (192, 192)])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_pictures_have_finite_gauges(size, level):
    flat = torch.full((1, 3, *size), level)
    read, seen = pictures.measured(flat, flat[..., : gauges.WINDOW, : gauges.WINDOW])
    assert bool(torch.isfinite(read).all())
    assert seen.shape == (1, 3, pictures.STREAKS_PX, pictures.STREAKS_PX)
    assert float(seen.max()) < 1e-2


def test_a_chart_shows_its_values():
    values = torch.rand((2, gauges.CHART), generator=torch.Generator().manual_seed(0))
    chart = gauges.chart(values)
    assert chart.shape == (2, 3, *gauges.CHART_PX)
    height = gauges.BAR_PX
    read = torch.cat([chart[:, 0, :height].mean(1), chart[:, 0, height:].mean(1)], 1)
    assert torch.allclose(read, values, atol=1e-6)
    # bars stand on their feet
    assert bool((chart[:, 0, height - 1] >= chart[:, 0, 0]).all())


def test_rain_is_lines_snow_is_spots_and_an_edge_is_neither():
    """On a grey wall with one bright door: what stands out in rain, in snow and without either."""
    wall = np.full((192, 192, 3), 90, dtype=np.uint8)
    wall[:, 120:] = 200

    def strongest(kind: str | None) -> list[float]:
        picture = wall
        if kind:
            step = make_step(kind, 0.6, torch.Generator().manual_seed(2))
            step["params"] |= {"mist": 0.0} | ({"motion_px": 0.0, "flake_px": 5.0} if kind == "snow" else {})
            picture = apply_recipe(wall, [step])
        found = streaks.find(window(picture))
        return [float(found[:, channel].square().mean()) for channel in range(3)]

    none, rain, snow = strongest(None), strongest("rain"), strongest("snow")
    assert max(none) < 1e-6
    assert rain[0] > 3 * rain[1] and rain[0] > 1e-5
    assert snow[2] > snow[1] and snow[2] / snow[0] > 2 * rain[2] / rain[0]
