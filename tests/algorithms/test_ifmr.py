"""IFMR against the brute-force search over the raw values."""

from dataclasses import replace

import numpy as np
import pytest
from histograms import histogram_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.ifmr import ALL_PAIRS, IfmrSettings, quantization_errors, search
from reference import ifmr as reference

COARSE = IfmrSettings(search_step=0.05)
COARSE_RATIOS = [hundredth / 100 for hundredth in range(70, 131, 5)]


def samples():
    generator = np.random.default_rng(11)
    normal = generator.standard_normal(20_000)
    return {
        "gaussian": normal,
        "relu": np.maximum(normal, 0),
        "relu6": np.clip(3 * normal + 2, 0, 6),
        "swish": normal * 2 / (1 + np.exp(-2 * normal)),
        "negative": -np.abs(normal),
        "uniform": generator.uniform(-1, 3, 20_000),
        "student t": generator.standard_t(3, 20_000),
        "lognormal": generator.lognormal(0, 1.5, 20_000),
        "images": generator.integers(0, 256, 20_000),
        "centred images": generator.integers(0, 256, 20_000) - 127.5,
        "outliers": np.append(normal, [1e4, -1e4, 8e3]),
        "small": normal * 1e-3,
        "few": normal[:7],
        "one": [2.5],
        "constant": np.full(100, -3.7),
    }


def compare(values, asymmetric):
    values = np.asarray(values, np.float32)
    found = search(histogram_of(values), IfmrSettings(search_step=0.05, asymmetric=asymmetric))
    best, *_ = reference.search(values, COARSE_RATIOS, asymmetric=asymmetric)
    quantizer = found.quantizer
    reached = reference.mean_squared_error(values, quantizer.scale, quantizer.offset)
    resolution = 1e-13 * np.mean(np.square(values, dtype=np.float64))
    assert reached <= best * 1.001 + resolution
    return found, reached


@pytest.mark.parametrize("asymmetric", [True, False])
@pytest.mark.parametrize("name", samples())
def test_the_winner_is_as_good_as_the_brute_force_winner(name, asymmetric):
    found, reached = compare(samples()[name], asymmetric)
    assert found.mean_squared_error == pytest.approx(reached, rel=2e-3, abs=1e-13 * found.signal_power)


@given(arrays.arrays(np.float32, st.integers(1, 30), elements=st.floats(-8, 8, width=32)), st.booleans())
@settings(max_examples=60, deadline=None)
def test_tiny_tensors(values, asymmetric):
    compare(values, asymmetric)


@pytest.mark.parametrize("sides", ["both", "positive", "negative"])
def test_the_offset_in_the_search_is_the_rounded_one(sides):
    values = np.random.default_rng(2).normal(0.3, 1, 4000).astype(np.float32)
    values = {"both": values, "positive": np.abs(values), "negative": -np.abs(values)}[sides]
    scales = np.float32([0.01, 0.02, 0.031])
    offsets = np.int32([-100, 3, 90])
    errors = quantization_errors(histogram_of(values), scales, offsets)
    expected = [reference.mean_squared_error(values, *pair) for pair in zip(scales, offsets, strict=True)]
    assert errors == pytest.approx(expected, rel=2e-3)


@given(st.floats(-5, 0, width=32), st.floats(0, 5, width=32))
@settings(max_examples=30, deadline=None)
def test_real_zero_is_exact(low, high):
    quantizer = search(histogram_of([low, high, 0, 0.3 * high, 0.7 * low]), COARSE).quantizer
    assert quantizer.fake_quantize(np.float32([0]))[0] == 0


def test_clipping_outliers_pays_only_where_they_are_cheap():
    generator = np.random.default_rng(3)
    values = np.append(generator.standard_normal(100_000), np.full(8, 6.0))
    found = search(histogram_of(values), IfmrSettings(max_percentile=0.9999))
    assert found.high < 6
    assert found.high_is_exact
    assert found.candidates == 61 * 61


def test_bounds_come_from_the_percentiles():
    values = np.arange(1, 100_001, dtype=np.float32)
    one = IfmrSettings(search_range_start=1, search_range_end=1, max_percentile=0.999, min_percentile=0.999)
    found = search(histogram_of(values), one)
    assert (found.low, found.high) == (0, 99_901)
    assert found.candidates == 1


def test_an_estimated_bound_says_so():
    found = search(histogram_of(np.random.default_rng(0).standard_normal(50_000)), IfmrSettings(max_percentile=0.8))
    assert not found.high_is_exact
    assert found.low_is_exact


@pytest.mark.parametrize("asymmetric", [True, False])
def test_ties_go_to_the_ratio_nearest_one(asymmetric):
    # 255 levels hold these values exactly at ratio 1, and at 0.85 or 1.2 and others as well where asymmetric.
    found = search(histogram_of([0, 0, 1]), IfmrSettings(asymmetric=asymmetric))
    assert found.high == 1
    assert found.mean_squared_error < 1e-14


def test_a_tie_of_both_sides_goes_to_the_nearest_pair():
    found = search(histogram_of([-128, 0, 127]), IfmrSettings(search_step=0.1))
    assert (found.low, found.high) == (-128, 127)
    without_one = IfmrSettings(search_range_start=0.5, search_range_end=2.0, search_step=1.5)
    found = search(histogram_of([-1, -1, 0, 1]), without_one)
    assert (found.low, found.high) == (-2, 2)


def test_of_ratios_equally_near_one_the_wider_range_wins():
    # All candidates for such small values have the smallest scale, so all tie.
    halves = IfmrSettings(search_range_start=0.5, search_range_end=1.5, search_step=1)
    found = search(histogram_of([-1e-40, 1e-40]), halves)
    assert found.quantizer.scale == np.finfo(np.float32).tiny
    assert (found.low, found.high) == (1.5 * np.float32(-1e-40), 1.5 * np.float32(1e-40))
    uneven = IfmrSettings(search_range_start=0.8, search_range_end=1.4, search_step=0.3)
    found = search(histogram_of([-1e-40, 1e-40]), uneven)
    assert found.high == pytest.approx(1.1e-40)


@pytest.mark.parametrize(("asymmetric", "offset"), [(True, -128), (False, 0)])
def test_all_zero_data(asymmetric, offset):
    found = search(histogram_of(np.zeros(9)), IfmrSettings(asymmetric=asymmetric))
    assert (found.quantizer.scale, found.quantizer.offset) == (1, offset)
    assert (found.mean_squared_error, found.candidates) == (0, 1)


@pytest.mark.parametrize(("values", "levels"), [([-3, 1, 2], 128), ([-2, 1, 3], 127), ([-3, 3], 127)])
def test_symmetric_scales_have_128_levels_below_zero_and_127_above(values, levels):
    one = IfmrSettings(search_range_start=1, search_range_end=1, asymmetric=False)
    found = search(histogram_of(values), one)
    assert found.quantizer == Quantizer(np.float32(3 / levels), 0)
    assert (found.low, found.high) == (min(values), max(values))
    assert search(histogram_of(values), IfmrSettings(asymmetric=False)).candidates == 61


def test_a_merged_histogram_is_searched_jointly():
    generator = np.random.default_rng(8)
    first, second = generator.standard_normal(5000), generator.uniform(0, 9, 3000)
    joint = search(histogram_of(first).merge(histogram_of(second)), COARSE)
    assert joint == search(histogram_of(np.append(first, second)), COARSE)


def test_fewer_bits():
    values = samples()["gaussian"]
    found = search(histogram_of(values), IfmrSettings(search_step=0.05, bits=4))
    best, *_ = reference.search(values, COARSE_RATIOS, bits=4)
    reached = reference.mean_squared_error(values, found.quantizer.scale, found.quantizer.offset, bits=4)
    assert reached <= best * 1.001


def test_an_empty_histogram_is_refused():
    with pytest.raises(ValueError, match="no values"):
        search(Histogram())


@pytest.mark.real
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("resnet8_cifar10/cifar10_part.npz", "x_calibration"),
        ("ds_cnn_kws/mfcc.npz", None),
        ("kwt1/features_98x40.npz", None),
        ("wake_word/calibration_samples.npz", None),
    ],
)
def test_real_inputs(shared, path, name):
    with np.load(shared / "real" / path) as file:
        name = name or max(file.files, key=lambda key: file[key].size)
        values = file[name].astype(np.float32).reshape(-1)[:100_000]
    for asymmetric in (True, False):
        compare(values, asymmetric)


FINE = IfmrSettings(search_step=0.0001)
TINY = arrays.arrays(np.float32, st.integers(1, 30), elements=st.floats(-8, 8, width=32))
LATTICE = st.builds(
    lambda codes, step: np.float32(codes) * np.float32(step),
    st.lists(st.integers(-40, 60), min_size=2, max_size=40),
    st.sampled_from([0.37, 1.0, 0.013]),
)


def every_pair(histogram, settings):
    """`search` without leaving any pair out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("calibrant.algorithms.ifmr.ALL_PAIRS", 2**60)
        return search(histogram, settings)


@given(st.one_of(TINY, LATTICE), st.sampled_from(["symmetric", "positive", "negative"]))
@settings(max_examples=8, deadline=None)
def test_a_fine_step_is_exhaustive_where_one_bound_moves(values, kind):
    values = values if kind == "symmetric" else np.abs(values) * (1 if kind == "positive" else -1)
    asymmetric = kind != "symmetric"
    some = replace(FINE, search_range_start=0.9, search_range_end=1.1, asymmetric=asymmetric)
    found = search(histogram_of(values), some)
    ratios = [index / 10_000 for index in range(9000, 11_001)]
    best, *_ = reference.search(values, ratios, asymmetric=asymmetric)
    reached = reference.mean_squared_error(values, found.quantizer.scale, found.quantizer.offset)
    assert reached <= best * 1.001 + 1e-13 * np.mean(np.square(values, dtype=np.float64))


@given(st.one_of(TINY, LATTICE), st.sampled_from([0.7, 0.985, 1.1]))
@settings(max_examples=25, deadline=None)
def test_a_fine_step_is_exhaustive_where_two_bounds_move(values, start):
    histogram = histogram_of(values)
    narrow = replace(FINE, search_range_start=start, search_range_end=start + 0.03)
    assert search(histogram, narrow) == every_pair(histogram, narrow)


@pytest.mark.parametrize("name", samples())
def test_no_pair_that_could_win_is_left_out(name):
    histogram = histogram_of(samples()[name])
    for start, end in ((0.7, 1.3), (1.1, 1.6), (0.2, 0.5)):
        some = IfmrSettings(search_range_start=start, search_range_end=end, search_step=0.0025)
        assert search(histogram, some) == every_pair(histogram, some)


def test_the_reference_over_raw_values_finds_no_better_pair_of_a_fine_step():
    values = (np.random.default_rng(0).integers(-20, 50, 300) * np.float32(0.37)).astype(np.float32)
    ratios = [index / 10_000 for index in range(9900, 10_041)]
    found = search(histogram_of(values), replace(FINE, search_range_start=0.99, search_range_end=1.004))
    assert found.candidates == len(ratios) ** 2 > ALL_PAIRS
    best, *_ = reference.search(values, ratios)
    reached = reference.mean_squared_error(values, found.quantizer.scale, found.quantizer.offset)
    assert reached <= best * 1.001


@pytest.mark.parametrize("asymmetric", [True, False])
def test_a_finer_step_whose_ratios_include_the_coarser_ones_is_never_worse(asymmetric):
    values = np.random.default_rng(0).integers(0, 50, 20_000) * 0.37
    errors = []
    for step in (0.01, 0.001, 0.0001):
        settings = IfmrSettings(search_step=step, asymmetric=asymmetric)
        errors.append(search(histogram_of(values), settings).mean_squared_error)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-6


@pytest.mark.parametrize(("asymmetric", "step"), [(True, 1e-30), (False, 1e-5)])
def test_any_step_ends_in_bounded_time(asymmetric, step):
    histogram = histogram_of(np.random.default_rng(3).standard_t(4, 20_000))
    coarse = search(histogram, IfmrSettings(asymmetric=asymmetric)).mean_squared_error
    fine = search(histogram, IfmrSettings(search_step=step, asymmetric=asymmetric)).mean_squared_error
    assert fine <= coarse * 1.0001


@pytest.mark.parametrize("size", [1e-36, 1e-40])
def test_values_too_small_for_a_scale_of_their_own(size):
    histogram = histogram_of([-size, size, size / 3])
    narrow = replace(FINE, search_range_start=0.99, search_range_end=1.01)
    assert search(histogram, narrow) == every_pair(histogram, narrow)
    assert search(histogram, FINE).candidates == 6001**2
