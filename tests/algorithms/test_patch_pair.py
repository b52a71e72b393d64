"""Weights that aim at the outputs of another network, against least squares over patches cut out one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.test_patch_mean import cases, geometry_of
from calibrant.algorithms import output_rounding, patch_gram
from calibrant.algorithms.patch_mean import PatchGeometry
from calibrant.algorithms.patch_pair import PatchPair
from reference.output_rounding import patches


@pytest.fixture
def believed(monkeypatch):
    """Take moments as they are."""
    monkeypatch.setattr(output_rounding, "believed_share", lambda rows, samples: 1.0)
    monkeypatch.setattr("calibrant.algorithms.patch_pair.believed_share", lambda rows, samples: 1.0)


def seen(geometry, group, centered, *pairs):
    result = PatchPair(geometry, group, centered)
    for values, others in pairs:
        result.update(values, others)
    return result


@settings(max_examples=30, deadline=None)
@given(cases(), st.booleans(), st.integers(0, 9))
def test_moments_and_drift(case, centered, seed):
    x, windows = case
    y = x + np.random.default_rng(seed).normal(0, 0.1 * np.abs(x).max() + 0.1, x.shape).astype(np.float32)
    found = seen(geometry_of(windows), x.shape[-1], centered, (x, y))
    p, q = (patches(each, windows).reshape(found.count, -1) for each in (x, y))
    largest = np.abs([x, y]).max()
    np.testing.assert_allclose(found.drift()[0, :, 0], (q - p).mean(axis=0), atol=1e-4 * largest)
    p = p - centered * p.mean(axis=0)
    expected = output_rounding.shrunk(p.T @ p / len(p), len(p))
    np.testing.assert_allclose(found.moments()[0], expected, atol=1e-3 * largest**2)


@pytest.mark.parametrize("centered", [True, False])
def test_the_wanted_weights_are_those_of_least_squares(believed, centered):
    random = np.random.default_rng(2)
    x = random.normal(1, 1, (500, 6)).astype(np.float32)
    y = (x + 0.2 * x @ random.normal(0, 1, (6, 6))).astype(np.float32)
    weights = random.normal(0, 1, (1, 6, 3))
    found = seen(PatchGeometry(), 6, centered, (x[:200], y[:200]), (x[200:], y[200:])).wanted(weights)[0]
    read, target = x.astype(np.float64), y @ weights[0]
    if centered:
        read, target = read - read.mean(axis=0), target - target.mean(axis=0)
    np.testing.assert_allclose(found, np.linalg.lstsq(read, target, rcond=None)[0], atol=1e-3)


def test_equal_networks_want_the_weights_that_they_have():
    x = np.random.default_rng(0).normal(0, 1, (30, 4)).astype(np.float32)
    weights = np.random.default_rng(1).normal(0, 1, (1, 4, 2))
    np.testing.assert_array_equal(seen(PatchGeometry(), 4, True, (x, x)).wanted(weights), weights)


def test_inputs_that_are_zero_leave_the_weights():
    x = np.zeros((5, 3), np.float32)
    weights = np.ones((3, 1, 2))
    np.testing.assert_array_equal(seen(PatchGeometry(), 1, True, (x, x)).wanted(weights), weights)


@pytest.mark.parametrize("level", [1.0, 0.1, 1e-20, 3e5])
@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_inputs_that_hardly_vary_leave_the_weights(level, noise):
    random = np.random.default_rng(0)
    shape = (64, 5)
    x = (level * (np.linspace(0.3, 1, 5) + noise * random.normal(0, 1, shape))).astype(np.float32)
    weights = random.normal(0, 1, (1, 5, 3))
    pair = seen(PatchGeometry(), 5, True, (x[:30], 1.1 * x[:30]), (x[30:], 1.1 * x[30:]))
    np.testing.assert_array_equal(pair.wanted(weights), weights)


def test_few_samples_move_little():
    random = np.random.default_rng(0)
    x, weights = random.normal(0, 1, (2, 400)).astype(np.float32), random.normal(0, 1, (1, 400, 2))
    found = seen(PatchGeometry(), 400, False, (x, -x)).wanted(weights)
    assert 0 < np.abs(found - weights).max() < 0.1 * np.abs(weights).max()


def test_wide_layers_have_blocks(monkeypatch):
    monkeypatch.setattr(patch_gram, "LARGEST_BLOCK", 3)
    x = np.random.default_rng(0).normal(0, 1, (9, 5)).astype(np.float32)
    pair = seen(PatchGeometry(), 5, False, (x, 0.5 * x))
    weights = np.random.default_rng(1).normal(0, 1, (2, 3, 4))
    assert pair.moments().shape == (2, 3, 3)
    assert pair.wanted(weights).shape == weights.shape


def test_parts_of_a_batch_make_no_difference(monkeypatch):
    x = np.random.default_rng(0).normal(0, 1, (40, 3)).astype(np.float32)
    y = x + np.float32(0.25)
    whole = seen(PatchGeometry(), 3, True, (x, y))
    monkeypatch.setattr(patch_gram, "_ROWS_AT_A_TIME", 7)
    parts = seen(PatchGeometry(), 3, True, (x, y))
    np.testing.assert_array_equal(parts.moments(), whole.moments())
    np.testing.assert_array_equal(parts.drift(), whole.drift())
