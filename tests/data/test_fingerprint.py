"""The fingerprint of data: equal for equal data, another for any other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrant.data.fingerprint import WORDS, Fingerprint


def of(*arrays):
    fingerprint = Fingerprint()
    for array in arrays:
        fingerprint.add(array)
    return fingerprint.hexdigest()


@given(st.integers(0, 3 * 8 * WORDS), st.integers(0, 255))
def test_one_changed_byte_changes_it(place, value):
    data = np.arange(3 * 8 * WORDS + 5, dtype=np.int64).astype(np.uint8)
    other = data.copy()
    other[place] = value
    assert (of(data) == of(other)) == (data[place] == value)


def test_order_type_and_shape_count():
    one, two = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    assert of(one, two) != of(two, one)
    assert len({of(one), of(one.reshape(3, 2)), of(one.astype(np.int32)), of(np.zeros(0))}) == 4
    assert of(np.array(["a", "b"], object)) != of(np.array(["a", "c"], object))


@pytest.mark.parametrize("size", [0, 1, 7, 8 * WORDS, 8 * WORDS + 1])
def test_any_size(size):
    assert len(of(np.zeros(size, np.uint8))) == 64
