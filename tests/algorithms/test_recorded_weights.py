"""Weights quantized with scales that were given."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.algorithms.arithmetic import SMALLEST_SCALE
from calibrant.algorithms.recorded_weights import weights_with_scale


@pytest.mark.filterwarnings("error")
def test_weights_beyond_every_code_of_the_smallest_scale_clip_silently():
    found = weights_with_scale(np.float32([-9, 0, 9]), np.float32([SMALLEST_SCALE]))
    assert found.values.tolist() == [-128, 0, 127]
