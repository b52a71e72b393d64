import numpy as np
import pytest

from calibrant.emit.ascend.relu6 import relu6_can_be_relu


@pytest.mark.parametrize("high", [0.5, 5.999, 6.0, 6.001, 12.0])
def test_the_quantizer_clips_what_relu6_would_have_clipped(high):
    values = np.linspace(-3, 20, 1000)
    relu, relu6 = np.clip(values, 0, None), np.clip(values, 0, 6)
    same = np.array_equal(np.minimum(relu, high), np.minimum(relu6, high))
    assert relu6_can_be_relu(high) == same
