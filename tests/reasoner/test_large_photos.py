"""Very large photos are shrunk band by band, and looked at as if they had been shrunk at once."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from components.reasoner import pictures


@pytest.mark.parametrize(("size", "factor"), [((1030, 77), 2), ((999, 1001), 3), ((513, 40), 7), ((256, 9), 300)])
def test_bands_are_shrunk_as_the_whole(size, factor):
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert np.array_equal(pictures.reduced(photo, factor), np.asarray(Image.fromarray(photo).reduce(factor)))
