"""Rounding for the least error of the outputs, against solving for the free weights after every one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.algorithms.output_rounding import output_error, rounded_for_output, shrunk
from reference.output_rounding import rounded_one_by_one


@st.composite
def cases(draw):
    """Weights in steps, allowed levels, and positive definite moments of correlated inputs."""
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    rows, outputs, bits = draw(st.integers(1, 9)), draw(st.integers(1, 4)), draw(st.integers(2, 8))
    half = 1 << (bits - 1)
    levels = np.arange(-half, half)
    if draw(st.booleans()):  # non-uniform
        levels = np.sort(random.choice(levels, min(5, len(levels)), replace=False))
    steps = random.uniform(levels[0] - 1, levels[-1] + 1, (rows, outputs))
    inputs = random.normal(0, 1, (3 * rows, rows)) @ random.normal(0, 1, (rows, rows)) + random.normal()
    return steps, levels, shrunk(inputs.T @ inputs / len(inputs), len(inputs))


def nearest(steps, levels):
    return levels[np.abs(steps[..., None] - levels).argmin(axis=-1)].astype(np.int8)


@settings(max_examples=80, deadline=None)
@given(cases())
def test_rounds_as_refitting_after_every_row_unless_nearest_codes_are_better(case):
    steps, levels, moments = case
    plain = nearest(steps, levels)
    found = rounded_for_output(steps, plain, moments, levels)
    error, plain_error = (output_error(steps - codes, moments) for codes in (found, plain))
    for column in range(steps.shape[1]):
        expected = rounded_one_by_one(steps[:, column], moments, levels.tolist())
        slow = output_error((steps[:, column] - expected)[:, None], moments)[0]
        assert np.isclose(error[column], min(slow, plain_error[column]), rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_never_worse_than_nearest_codes_and_only_allowed_ones(case):
    steps, levels, moments = case
    plain = nearest(steps, levels)
    found = rounded_for_output(steps, plain, moments, levels)
    assert found.dtype == np.int8 and np.isin(found, levels).all()
    assert (output_error(steps - found, moments) <= output_error(steps - plain, moments)).all()
    np.testing.assert_array_equal(found, rounded_for_output(steps, plain, moments, levels))


@settings(max_examples=30, deadline=None)
@given(cases(), st.integers(0, 99))
def test_inputs_that_do_not_vary_together_leave_the_nearest_codes(case, seed):
    steps, levels, _ = case
    plain = nearest(steps, levels)
    moments = np.diag(np.random.default_rng(seed).uniform(0, 2, len(steps)))
    np.testing.assert_array_equal(rounded_for_output(steps, plain, moments, levels), plain)


def test_two_inputs_that_are_always_equal_share_their_error():
    steps, levels = np.array([[0.4], [0.4]]), np.arange(-8, 8)
    moments = np.ones((2, 2)) + 1e-6 * np.eye(2)
    codes = rounded_for_output(steps, np.zeros((2, 1), np.int8), moments, levels)
    assert codes.sum() == 1


def test_moments_that_are_not_positive_definite_leave_the_nearest_codes():
    nearest_codes = np.zeros((2, 1), np.int8)
    moments = np.array([[1.0, 2.0], [2.0, 1.0]])
    assert rounded_for_output(np.full((2, 1), 0.4), nearest_codes, moments, np.arange(-8, 8)) is nearest_codes


def test_of_few_samples_less_is_believed():
    inputs = np.random.default_rng(0).normal(0, 1, (4, 8))
    moments = inputs.T @ inputs / 4
    few, many = shrunk(moments, 4), shrunk(moments, 10**9)
    assert np.linalg.eigvalsh(few).min() > 10 * np.linalg.eigvalsh(many).min() > 0
    np.testing.assert_allclose([np.trace(few), np.trace(many)], np.trace(moments))
    np.testing.assert_array_equal(shrunk(np.zeros((3, 3)), 1), np.zeros((3, 3)))
