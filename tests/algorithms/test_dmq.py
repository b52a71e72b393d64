import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.algorithms.dmq import balance_factors
from reference import dmq as reference

EPSILON = 2.0**-23
maxima = st.one_of(st.floats(0, 1e30), st.floats(0, 10), st.sampled_from([0.0, 1e-30, 1e-8, EPSILON, 3.4e38]))
channels = st.lists(st.tuples(maxima, maxima), max_size=8)
strengths = st.floats(0.2, 0.8)


@settings(max_examples=60, deadline=None)
@given(channels, strengths)
def test_equals_the_reference(pairs, strength):
    activations, weights = [a for a, _ in pairs], [w for _, w in pairs]
    factors = balance_factors(np.array(activations), np.array(weights), strength)
    assert factors.dtype == np.float32
    np.testing.assert_allclose(factors, reference.balance_factors(activations, weights, strength), rtol=3e-7)


@settings(max_examples=60, deadline=None)
@given(channels, strengths)
def test_factors_stay_inside_epsilon_and_its_reciprocal(pairs, strength):
    maxima = np.array(pairs).reshape(-1, 2)
    factors = balance_factors(maxima[:, 0], maxima[:, 1], strength)
    assert ((factors > EPSILON) & (factors < 1 / EPSILON)).all()


@pytest.mark.parametrize("strength", [0.2, 0.5, 0.8])
def test_the_formula(strength):
    activations, weights = np.array([8.0, 0.5, 3.0]), np.array([0.25, 2.0, 3.0])
    factors = balance_factors(activations, weights, strength)
    np.testing.assert_allclose(activations / factors, (activations * weights) ** (1 - strength), rtol=1e-6)
    np.testing.assert_allclose(weights * factors, (activations * weights) ** strength, rtol=1e-6)


def test_half_strength_makes_both_sides_equal():
    activations, weights = np.array([100.0, 1.0, 7.0]), np.array([0.1, 0.3, 2.0])
    factors = balance_factors(activations, weights, 0.5)
    np.testing.assert_allclose(activations / factors, weights * factors, rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-9, 1e-3, 1e6])
def test_small_units_are_balanced_like_others(unit):
    activations, weights = np.array([8.0, 0.5, 0.0]), np.array([0.25, 2.0, 3.0])
    factors = balance_factors(activations * unit, weights * unit)
    np.testing.assert_allclose(factors, balance_factors(activations, weights), rtol=1e-6)


def test_two_zero_sides_are_left_alone():
    assert balance_factors(np.array([0.0, 9.0]), np.array([0.0, 1.0])).tolist() == [1, 3]


def test_zero_weights_take_the_largest_balanced_activation():
    activations, weights = np.array([9.0, 4.0, 50.0]), np.array([1.0, 1.0, 0.0])
    factors = balance_factors(activations, weights, 0.5)
    assert (activations / factors).tolist() == pytest.approx([3, 2, 3])


def test_zero_activations_take_the_largest_balanced_weight():
    activations, weights = np.array([9.0, 4.0, 0.0]), np.array([1.0, 1.0, 50.0])
    factors = balance_factors(activations, weights, 0.5)
    assert (weights * factors).tolist() == pytest.approx([3, 2, 3])


def test_without_a_whole_channel_nothing_is_balanced():
    assert balance_factors(np.array([5.0, 0.0]), np.array([0.0, 7.0])).tolist() == [1, 1]


@pytest.mark.parametrize(
    "activations, weights, strength",
    [
        ([1.0], [1.0, 2.0], 0.5),
        ([[1.0]], [[1.0]], 0.5),
        ([-1.0], [1.0], 0.5),
        ([np.nan], [1.0], 0.5),
        ([1.0], [np.inf], 0.5),
        ([1.0], [1.0], 1.5),
        ([1.0], [1.0], np.nan),
    ],
)
def test_nonsense_is_refused(activations, weights, strength):
    with pytest.raises(ValueError):
        balance_factors(np.array(activations), np.array(weights), strength)
