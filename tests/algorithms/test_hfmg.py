"""HFMG against the walk in plain Python."""

import numpy as np
import pytest
from histograms import histogram_of
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.algorithms import kernels, kernels_numpy
from calibrant.algorithms.hfmg import HfmgSettings, equal_bins, greedy_ranges, search
from calibrant.algorithms.histogram import Histogram
from reference import hfmg as reference


def samples():
    generator = np.random.default_rng(21)
    normal = generator.standard_normal(200_000)
    return {
        "gaussian": normal,
        "relu": np.maximum(normal, 0),
        "negative": -np.abs(normal),
        "away from zero": normal + 9,
        "student t": generator.standard_t(5, 200_000),
        "images": generator.integers(0, 256, 200_000),
    }


@given(st.lists(st.integers(0, 5) | st.integers(0, 10**7), min_size=4, max_size=80).filter(any))
@settings(max_examples=60, deadline=None)
def test_the_walk(counts):
    for form in {kernels.kernels(), kernels_numpy}:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("calibrant.algorithms.hfmg.kernels", lambda form=form: form)
            found = greedy_ranges(np.array(counts, np.float64))
        assert [tuple(row) for row in found.tolist()] == reference.walk(counts)


def test_a_step_cuts_where_more_bins_are_freed_then_where_fewer_counts_are_lost():
    counts = np.array([0, 3, 1, 900, 800, 700, 2, 0, 0, 5], np.float64)
    assert greedy_ranges(counts).tolist() == [[0, 10], [2, 10], [3, 10], [3, 9], [3, 6], [3, 5]]


@pytest.mark.parametrize("num_of_bins", [1024, 4096, 8192])
@pytest.mark.parametrize("name", samples())
def test_equal_bins_are_those_of_the_raw_values(name, num_of_bins):
    values = samples()[name].astype(np.float32).astype(np.float64)
    counts = equal_bins(histogram_of(values), num_of_bins)
    expected, _ = np.histogram(values, num_of_bins)
    assert counts.sum() == pytest.approx(values.size)
    assert (counts >= 0).all()
    # Few values of a bin land in a neighbour: the cumulated counts stay together.
    assert np.abs(np.cumsum(counts) - np.cumsum(expected)).max() <= 0.001 * values.size


def test_values_on_the_grid_of_the_fine_bins_are_not_divided():
    values = np.repeat(np.arange(0, 257), np.arange(1, 258))
    counts = equal_bins(histogram_of(values), 1024)
    assert np.array_equal(counts, np.histogram(values, 1024)[0])


@pytest.mark.parametrize("asymmetric", [True, False])
@pytest.mark.parametrize("name", samples())
def test_the_winner_is_as_good_as_that_of_plain_python(name, asymmetric):
    values = samples()[name].astype(np.float32)
    found = search(histogram_of(values), HfmgSettings(256, asymmetric))
    best, *_ = reference.search(values, 256, asymmetric)
    counts, edges = np.histogram(values.astype(np.float64), 256)
    reached = reference.score(counts, edges[0], edges[1] - edges[0], found.quantizer.scale, found.quantizer.offset)
    assert reached <= best * 1.01
    assert found.mean_squared_error == pytest.approx(best, rel=0.01)


def test_the_order_of_batches_does_not_matter():
    parts = np.split(samples()["student t"], [1000, 50_000])
    assert search(histogram_of(*parts)) == search(histogram_of(*parts[::-1]))


def test_a_long_tail_is_clipped():
    values = np.append(np.random.default_rng(0).standard_normal(500_000), np.linspace(5, 8, 20))
    found = search(histogram_of(values))
    assert 3 < found.high < 7
    assert found.candidates > 100


@pytest.mark.parametrize("value", [3.7, -2.0])
def test_constant_data(value):
    found = search(histogram_of(np.full(50, value)))
    assert found.candidates == 1
    assert found.quantizer.fake_quantize(np.float32([value]))[0] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(("asymmetric", "offset"), [(True, -128), (False, 0)])
def test_all_zero_data(asymmetric, offset):
    found = search(histogram_of(np.zeros(5)), HfmgSettings(asymmetric=asymmetric))
    assert (found.quantizer.scale, found.quantizer.offset) == (1, offset)
    assert found.mean_squared_error == 0


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20), st.booleans())
@settings(max_examples=40, deadline=None)
def test_real_zero_is_exact_and_errors_are_finite(values, asymmetric):
    found = search(histogram_of(values), HfmgSettings(64, asymmetric))
    assert found.quantizer.fake_quantize(np.float32([0]))[0] == 0
    assert np.isfinite(found.mean_squared_error)
    assert found.low <= found.high


def test_an_empty_histogram_is_refused():
    with pytest.raises(ValueError, match="no values"):
        search(Histogram())


def test_too_few_bins_are_refused():
    with pytest.raises(ValueError, match="4 bins"):
        search(histogram_of([1, 2]), HfmgSettings(3))


@pytest.mark.real
def test_real_inputs_keep_their_range_or_gain_by_clipping(shared):
    with np.load(shared / "real" / "ds_cnn_kws" / "mfcc.npz") as file:
        values = max((file[key] for key in file.files), key=np.size).astype(np.float32)
    found = search(histogram_of(values))
    whole = histogram_of(values)
    assert whole.minimum <= found.low < found.high <= whole.maximum
    assert found.mean_squared_error < 1e-3 * found.signal_power
