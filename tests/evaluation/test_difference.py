"""Differences of outputs against the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.evaluation.difference import Difference

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(1, 16))
def test_difference_is_that_of_the_definitions(seed, cut):
    generator = np.random.default_rng(seed)
    first = generator.standard_normal((17, 3)).astype(np.float32)
    second = (first + generator.normal(0, 0.3, first.shape)).astype(np.float32)
    difference = Difference()
    difference.update(first[:cut], second[:cut])
    difference.update(first[cut:], second[cut:])
    a, b = first.astype(np.float64).ravel(), second.astype(np.float64).ravel()
    assert difference.mse == pytest.approx(np.mean((a - b) ** 2))
    assert difference.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert difference.sqnr_db == pytest.approx(10 * np.log10(np.sum(a**2) / np.sum((a - b) ** 2)))
    assert difference.largest == np.max(np.abs(a - b))
    assert difference.agreement == np.mean(np.argmax(first, axis=1) == np.argmax(second, axis=1))


def test_no_difference():
    difference = Difference()
    difference.update(np.ones((2, 3)), np.ones((2, 3)))
    assert (difference.mse, difference.cosine, difference.sqnr_db, difference.agreement) == (0, 1, math.inf, 1)


@pytest.mark.parametrize("first, second, cosine, sqnr", [(0, 0, 1.0, math.inf), (0, 1, 0.0, -math.inf), (1, 0, 0.0, 0)])
def test_zeros(first, second, cosine, sqnr):
    difference = Difference()
    difference.update(np.full((2, 3), float(first)), np.full((2, 3), float(second)))
    assert (difference.cosine, difference.sqnr_db) == (cosine, sqnr)


def test_nothing_measured_is_none():
    difference = Difference()
    assert [difference.mse, difference.cosine, difference.sqnr_db, difference.agreement] == [None] * 4


def test_one_output_a_sample_has_no_agreement():
    difference = Difference()
    difference.update(np.ones(4), np.zeros(4))
    assert difference.agreement is None and difference.mse == 1.0
