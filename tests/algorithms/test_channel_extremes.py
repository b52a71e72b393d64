import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calibrant.algorithms.channel_extremes import ChannelMaximum
from calibrant.algorithms.histogram import NonFiniteError

arrays = hnp.arrays(np.float32, (3, 2, 4), elements=st.floats(-1e6, 1e6, width=32))


@settings(max_examples=40, deadline=None)
@given(st.lists(arrays, min_size=1, max_size=4), st.sampled_from([-1, 1, -3]))
def test_all_orders_and_groupings_give_what_the_definition_says(batches, axis):
    together = np.stack(batches)
    others = tuple(a for a in range(3) if a != axis % 3)
    expected = np.abs(together).max(axis=0).max(axis=others)
    one_by_one, merged = ChannelMaximum(axis), ChannelMaximum(axis)
    for batch in batches:
        one_by_one.update(batch)
        part = ChannelMaximum(axis)
        part.update(batch)
        merged = part.merge(merged)
    np.testing.assert_array_equal(one_by_one.maximum, expected)
    np.testing.assert_array_equal(merged.maximum, expected)


def test_values_that_are_not_finite_are_refused_and_change_nothing():
    statistic = ChannelMaximum()
    statistic.update(np.array([[1.0, -2.0]]))
    with pytest.raises(NonFiniteError, match="1 NaN and 2 infinite"):
        statistic.update(np.array([[np.nan, np.inf], [-np.inf, 9.0]]))
    assert statistic.maximum.tolist() == [1, 2]


def test_an_empty_batch_says_nothing():
    statistic = ChannelMaximum()
    statistic.update(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="no values"):
        statistic.maximum  # noqa: B018
    statistic.update(np.ones((1, 3)))
    statistic.update(np.zeros((0, 3)))
    assert statistic.maximum.tolist() == [1, 1, 1]


def test_what_does_not_fit():
    statistic = ChannelMaximum(1)
    with pytest.raises(ValueError, match="no axis 1"):
        statistic.update(np.ones(3))
    statistic.update(np.ones((2, 3)))
    with pytest.raises(ValueError, match="2 channels after 3"):
        statistic.update(np.ones((2, 2)))
    with pytest.raises(ValueError, match="cannot be merged"):
        statistic.merge(ChannelMaximum(0))


def test_a_stored_state_can_be_taken_in():
    values = np.random.default_rng(4).standard_normal((6, 5)).astype(np.float32)
    whole, first, second, third = (ChannelMaximum(-1) for _ in range(4))
    whole.update(values[:4])
    whole.update(values[4:])
    first.update(values[:4])
    second.update(values[4:])
    first.merge_arrays(ChannelMaximum(-1).to_arrays())
    first.merge_arrays(second.to_arrays())
    third.merge_from(first)
    third.update(values)
    equal = [np.array_equal(found, whole.to_arrays()[key]) for key, found in first.to_arrays().items()]
    assert equal and all(equal)


@pytest.mark.parametrize("value", [np.nan, np.inf, [[1.0]]])
def test_a_damaged_state_is_refused(value):
    with pytest.raises(ValueError, match="no finite number"):
        ChannelMaximum(-1).merge_arrays({"maximum": np.asarray(value)})
