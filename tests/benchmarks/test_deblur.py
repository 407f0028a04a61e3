"""The filters' benchmark: known kernels are undone, and a filter that rings without end is worse on motion."""

from __future__ import annotations

from benchmarks import deblur


def test_a_filter_that_ends_is_better_on_motion():
    clean = deblur.pictures(2)
    ends, rings = (deblur.gains(clean, ("motion", 20.0, 20.0), reach) for reach in (48, 1000))
    assert ends[0] > rings[0] + 1, (ends, rings)
    assert ends.min() > 1, ends
