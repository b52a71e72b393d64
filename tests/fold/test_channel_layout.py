import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.fold.layout import Layout, layout_for


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 3), min_size=2, max_size=5),
    axis=st.integers(0, 4),
    constant=st.lists(st.integers(1, 3), max_size=6),
)
def test_per_channel_says_what_broadcasting_does(shape, axis, constant):
    axis %= len(shape)
    array = np.arange(np.prod(constant, dtype=int), dtype=np.float32).reshape(constant)
    layout = Layout(len(shape), axis - len(shape), shape[axis])
    found = layout.per_channel(array)
    try:
        everywhere = np.broadcast_to(array, shape)
    except ValueError:
        assert found is None
        return
    channels = np.moveaxis(everywhere, axis, 0).reshape(shape[axis], -1)
    if found is None:
        assert (channels != channels[:, :1]).any()
    else:
        np.testing.assert_array_equal(found[:, None], channels[:, :1])
        assert (channels == channels[:, :1]).all() and found.dtype == np.float64


def test_where_the_rank_is_unknown_only_the_last_two_axes_are_sure():
    layout = Layout(None, -1, 3)
    assert layout.per_channel(np.ones(3, np.float32)) is not None
    assert layout.per_channel(np.ones((1, 3), np.float32)) is not None
    assert layout.per_channel(np.ones((1, 1, 3), np.float32)) is None


def test_integers_are_no_factors():
    assert Layout(4, -1, 3).per_channel(np.ones(3, np.int32)) is None


@pytest.mark.parametrize("data_format, rank", [("NHWC", 4), ("NCHW", 4), ("NDHWC", 5), ("NCDHW", 5), (None, 4)])
def test_a_layout_agrees_with_its_own_format(data_format, rank):
    layout = layout_for(data_format, rank, 3)
    assert layout.agrees(data_format) and layout.agrees(layout.bias_format)
    assert not layout.agrees("NHWC" if layout.axis != -1 else "NCHW")


def test_other_formats_have_no_layout():
    assert layout_for("NCHW_VECT_C", 4, 3) is None
