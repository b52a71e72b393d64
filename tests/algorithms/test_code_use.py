"""The codes that values really use, against counting one value at a time."""

from collections import Counter

import numpy as np
import pytest
from histograms import histogram_of
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.algorithms import ifmr
from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.code_use import code_use


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-40, 40), min_size=1, max_size=200), st.sampled_from([0.5, 1, 7]), st.integers(-20, 20))
def test_counts_as_one_by_one(values, scale, offset):
    quantizer = Quantizer(scale, offset)
    codes = Counter(int(quantizer.quantize(np.float32(value))) for value in values if value)
    total, held, needed = sum(codes.values()), 0, 0
    for _, count in codes.most_common():
        if held < 0.999 * total:
            held, needed = held + count, needed + 1
    found = code_use(histogram_of(values), quantizer)
    assert (found.codes, found.minimum, found.maximum) == (needed, min(values), max(values))
    assert found.zeroed == pytest.approx(codes[offset] / total if total else 0)


def test_one_outlier_among_many_is_poor():
    values = np.random.default_rng(0).normal(size=65536)
    histogram = histogram_of(np.append(values, 1e4))
    assert code_use(histogram, ifmr.search(histogram).quantizer).is_poor
    histogram = histogram_of(values)
    assert not code_use(histogram, ifmr.search(histogram).quantizer).is_poor


@pytest.mark.parametrize("values", [[0, 1] * 50, [0.0], [3.0], np.arange(16)])
def test_data_of_few_levels_are_not_poor(values):
    histogram = histogram_of(values)
    assert not code_use(histogram, ifmr.search(histogram).quantizer).is_poor
