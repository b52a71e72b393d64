"""Counting in decimal."""

import numpy as np
import pytest

from calibrant.algorithms.decimal_grid import DecimalGrid, Span


def numbers(*bounds):
    grid = DecimalGrid.between(*bounds)
    return tuple(grid.number(index) for index in range(grid.count))


@pytest.mark.parametrize("kind", [float, np.float32])
def test_candidates_are_counted_in_decimal(kind):
    ratios = numbers(kind(0.7), kind(1.3), kind(0.01))
    assert ratios == tuple(hundredth / 100 for hundredth in range(70, 131))


def test_candidates_stop_before_an_end_that_is_not_on_the_grid():
    assert numbers(0.5, 1.0, 0.3) == (0.5, 0.8)
    assert numbers(1.0, 1.0, 0.1) == (1.0,)


@pytest.mark.parametrize("wrong", [(0, 1, 0), (0, 1, -1), (1, 0, 0.1), (0, np.inf, 1), (np.nan, 1, 1)])
def test_endless_candidates_are_refused(wrong):
    with pytest.raises(ValueError, match="cannot count"):
        DecimalGrid.between(*wrong)


@pytest.mark.parametrize("most", [5, 101])
@pytest.mark.parametrize("count", [1, 2, 100, 101, 102, 6 * 10**29])
def test_narrowing_a_span_reaches_every_index(count, most):
    for wanted in {0, count // 3, count - 1}:
        span = Span.over(0, count - 1, most)
        for _ in range(400):
            if span.stride == 1:
                break
            indices = span.indices()
            assert len(indices) <= most + 1
            span = span.around(min(range(len(indices)), key=lambda at: abs(indices[at] - wanted)), most)
        assert wanted in span.indices()
