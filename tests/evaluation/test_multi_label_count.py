"""Measures of several labels a sample against counting them one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.evaluation.multi_label_count import MultiLabelCount
from reference.decisions import multi_label

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(seeds, st.booleans(), st.lists(st.integers(0, 12), max_size=3))
def test_measures_are_those_of_the_definitions(seed, logits, cuts):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(12, 4)) * 3 if logits else generator.random((12, 4))
    labels = generator.choice([-1, 0, 1], (12, 4), p=[0.1, 0.6, 0.3])
    count = MultiLabelCount(ignore=[-1])
    for part in np.split(np.arange(12), sorted(cuts)):
        count.update(scores[part], labels[part])
    expected = multi_label(scores > (0 if logits else 0.5), labels, ignore=[-1])
    assert (count.f1, count.exact_match, count.hamming_accuracy) == pytest.approx(expected)


def test_nan_is_never_right():
    count = MultiLabelCount()
    count.update(np.full((2, 2), np.nan), np.array([[0, 1], [1, 0]]))
    assert (count.f1, count.exact_match, count.hamming_accuracy) == (0, 0, 0)


def test_without_positives_there_is_no_f1():
    count = MultiLabelCount()
    count.update(np.eye(2), np.zeros((2, 2), int))
    assert (count.f1, count.exact_match, count.hamming_accuracy) == (None, 0, 0.5)
    assert MultiLabelCount().hamming_accuracy is None
