"""The loops in C, in every form for this processor, give the same bits as those in numpy."""

import importlib
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.algorithms import hfmg, ifmr, kernels, kernels_numpy, packed_bins
from calibrant.algorithms.histogram import Histogram

native = pytest.importorskip(
    "calibrant.algorithms.kernels_native",
    reason="calibrant was installed without a C compiler, there is nothing to compare",
    exc_type=ImportError,
)
USERS = ("histogram", "ifmr", "hfmg")
FORMS = native.limit_forms(100)


def samples():
    generator = np.random.default_rng(5)
    normal = generator.standard_normal(300_000)
    return {
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "heavy": generator.standard_t(2, 300_001),
        "whole numbers": generator.integers(0, 256, 20_000),
        "negative": -np.abs(normal[:5000]),
        "constant": np.full(200_000, 3.7),
        "zeros": np.zeros(300),
        "outliers": np.append(normal[:9000], [1e4, -1e30]),
        "one": [1e-40],
    }


def everything(values, form, monkeypatch):
    """The state, and whatever is found from it."""
    for user in USERS:
        monkeypatch.setattr(f"calibrant.algorithms.{user}.kernels", lambda: form)
    histogram = Histogram()
    for part in np.array_split(np.asarray(values, np.float32), 2):
        histogram.update(part)
    found = [
        algorithm.search(histogram, settings(asymmetric=asymmetric))
        for algorithm, settings in ((ifmr, ifmr.IfmrSettings), (hfmg, hfmg.HfmgSettings))
        for asymmetric in (True, False)
    ]
    return histogram, found


@pytest.mark.parametrize("name", samples())
def test_all_forms_agree_bit_for_bit(name, monkeypatch):
    values = samples()[name]
    expected = everything(values, kernels_numpy, monkeypatch)
    try:
        for places in range(1, FORMS + 1):
            native.limit_forms(places)
            assert everything(values, native, monkeypatch) == expected
    finally:
        native.limit_forms(100)


@settings(deadline=None)
@given(st.data())
def test_any_bits_are_sorted_into_bins_alike(data):
    """Blocks of any content and length: NaN, infinity, denormal numbers and both zeros included."""
    seed, size = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.sampled_from([1, 127, 128, 1023, 1024, 1025, 3000]))
    generator = np.random.default_rng(seed)
    bits = generator.integers(-(2**31), 2**31, size, dtype=np.int64).astype(np.int32)
    few = generator.random(size) < data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    bits[few] = generator.choice(np.int32([0, -(2**31), 1, 0x3F800000, 0x00800000]), few.sum())
    first_key = data.draw(st.sampled_from([0, 1 << 10, 104 << 10]))
    fitting = min(((first_key >> 10) + packed_bins.OCTAVES << 23) - 1, 0x7F7FFFFF)
    if data.draw(st.booleans()):
        bits[(bits & 0x7FFFFFFF) > fitting] &= ~0x7F800000
    above, below = sorted(generator.integers(-(2**31), 2**31, 2).tolist(), reverse=True)
    results = []
    try:
        for places in range(1, FORMS + 1):
            native.limit_forms(places)
            packed = np.zeros(2 * packed_bins.BINS_PER_SIGN, np.uint64)
            found = native.add(bits, 0, packed, first_key, ~fitting, fitting, above, below)
            arrays = [part.tobytes() if isinstance(part, np.ndarray) else part for part in found]
            results.append((packed.tobytes(), *arrays))
    finally:
        native.limit_forms(100)
    assert all(result == results[0] for result in results)
    packed = np.zeros(2 * packed_bins.BINS_PER_SIGN, np.uint64)
    kernels_numpy.add(bits[: results[0][1]], 0, packed, first_key, ~fitting, fitting, above, below)
    assert results[0][0] == packed.tobytes()


def bins_of(generator, size, filled):
    """Packed bins and totals of any content that can be: no sum of positions is more than count and bin width allow."""
    chosen = generator.random((2, size)) < filled
    counts = generator.integers(1, 1 << 20, (2, size)) * chosen
    sums = (counts * generator.random((2, size)) * ((1 << packed_bins.POSITION_BITS) - 1)).astype(np.int64)
    packed = counts[0].astype(np.uint64) * packed_bins.units(np.arange(size)) + sums[0].astype(np.uint64)
    return packed, np.stack([counts[1], sums[1]])


@settings(deadline=None)
@given(st.data())
def test_both_forms_read_bins_alike(data):
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    size = packed_bins.BINS_PER_SIGN * data.draw(st.sampled_from([1, 2]))
    packed, totals = bins_of(generator, size, data.draw(st.sampled_from([0.0, 0.001, 0.3, 1.0])))
    packed, totals = data.draw(st.sampled_from([(packed, None), (None, totals), (packed, totals)]))
    first_key = data.draw(st.sampled_from([0, 1 << 10, 104 << 10, 231 << 10]))
    expected = kernels_numpy.filled(packed, totals, size, first_key)
    found = native.filled(packed, totals, size, first_key)
    assert [part.tobytes() for part in found] == [part.tobytes() for part in expected]
    assert (np.diff(found.means) > 0).all()
    start = data.draw(st.sampled_from([0, 1, 20_000, packed_bins.BINS_PER_SIGN]))
    for negative in (False, True):
        arguments = found, negative, first_key, start
        table, wanted = native.sums_outwards(*arguments), kernels_numpy.sums_outwards(*arguments)
        assert table[start:].tobytes() == wanted[start:].tobytes()
    zeros = data.draw(st.integers(0, 3))
    if found.codes.size or zeros:
        extremes = [*found.means[[0, -1] if found.codes.size else []], *[0.0] * zeros]
        minimum, maximum = float(min(extremes)), float(max(extremes))
        points = np.append(np.linspace(minimum, maximum, 999), found.means[:99])
        points = np.sort(np.append(points, np.nextafter(points, -np.inf)))
        arguments = found, zeros, minimum, maximum, points
        assert native.spread_below(*arguments).tobytes() == kernels_numpy.spread_below(*arguments).tobytes()


def test_edges_are_the_float32_values_whose_bits_the_keys_lead():
    keys = np.arange(255 << packed_bins.MANTISSA_BITS)
    expected = (keys << packed_bins.POSITION_BITS).astype(np.int32).view(np.float32).astype(np.float64)
    assert np.array_equal(packed_bins.edges_at(keys), expected)
    assert packed_bins.edges_at(keys[-1:] + 1) == 2.0**128


@pytest.mark.parametrize("name", samples())
def test_both_forms_sum_the_same_excess_whose_last_number_is_the_gain(name):
    histogram = Histogram()
    histogram.update(np.abs(samples()[name]).astype(np.float32))
    table, first_key = histogram.sums_outwards(False)
    scales = np.geomspace(max(histogram.maximum, 1e-30) / 500, 1.4 * max(histogram.maximum, 1e-30), 40)
    found = native.excess(scales, 60, table, first_key)
    assert found.tobytes() == kernels_numpy.excess(scales, 60, table, first_key).tobytes()
    assert not found[:, 0].any()
    for levels in (0, 1, 60):
        gains = native.gains(scales, np.full(40, levels), table, first_key)
        assert (2 * scales * found[:, levels]).tobytes() == gains.tobytes()


@pytest.mark.parametrize("shape", [(1, 1), (16, 5000), (70_000, 3), (3, 0), (0, 4), (5, 1), (2, 1_100_000)])
def test_both_forms_add_rows_alike_one_after_the_other(shape):
    rows = np.random.default_rng(3).standard_normal(shape, dtype=np.float32)
    rows[rows > 2] *= 1e6
    sums = [np.full(shape[1], 0.1) for _ in range(3)]
    native.add_rows(rows, sums[0])
    kernels_numpy.add_rows(rows, sums[1])
    for row in rows:
        sums[2] += row
    assert sums[0].tobytes() == sums[1].tobytes() == sums[2].tobytes()


def test_an_extension_built_for_other_bins_is_not_used(monkeypatch):
    monkeypatch.setattr(native._native, "LAYOUT", (0, 0, 0, 0))
    with pytest.raises(ImportError, match="other bins"):
        importlib.reload(native)


def test_without_it_numpy_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "calibrant.algorithms.kernels_native", None)
    monkeypatch.delattr("calibrant.algorithms.kernels_native")
    assert kernels.kernels.__wrapped__() is kernels_numpy


@settings(deadline=None)
@given(st.data())
def test_both_forms_sum_between_edges_alike(data):
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = data.draw(st.sampled_from([(1, 1), (3, 511), (2, 1500), (4, 0)]))
    values = (generator.normal(size=shape) * (generator.random(shape) < 0.7)).astype(np.float32)
    gradients = tuple(generator.normal(size=shape).astype(np.float32) for _ in range(2))
    if data.draw(st.booleans()):
        gradients[1][generator.random(shape) < 0.1] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    edges = generator.normal(size=data.draw(st.sampled_from([0, 1, 40]))) * data.draw(st.sampled_from([1e-3, 1, 1e37]))
    edges = np.sort(np.append(edges, 0).astype(np.float32))
    found, expected = (form.sums_between(values, gradients, edges) for form in (native, kernels_numpy))
    assert found.tobytes() == expected.tobytes()
    for value in (np.nan, np.inf):
        if values.size:
            values[0, -1] = value
            assert not any(
                np.isfinite(form.sums_between(values, gradients, edges)).all() for form in (native, kernels_numpy)
            )
