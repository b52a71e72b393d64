"""The accumulated statistic: exact tails, bins with exact means, one state for every order and grouping."""

import gzip
import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from calibrant.algorithms.histogram import Histogram, NonFiniteError
from calibrant.algorithms.packed_bins import OCTAVES, TAIL, edges_at
from reference import percentile as reference

floats = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(-10, 10, width=32) | st.just(0.0)
batches = st.lists(arrays.arrays(np.float32, st.integers(0, 40), elements=floats), max_size=5)


def observed(*batches):
    histogram = Histogram()
    for batch in batches:
        histogram.update(np.asarray(batch, np.float32))
    return histogram


def mixed(count, seed=0):
    """Values over many octaves on both sides, with zeros and ties."""
    generator = np.random.default_rng(seed)
    values = generator.standard_t(2, count) * generator.choice([1e-6, 1e-3, 1, 50], count)
    values[::7] = 0
    values[::11] = np.rint(values[::11])
    return values.astype(np.float32)


@given(batches)
@settings(max_examples=60, deadline=None)
def test_batches_in_any_order_and_merged_in_any_grouping_are_all_at_once(parts):
    whole = observed(np.concatenate([np.empty(0, np.float32), *parts]))
    assert observed(*parts) == whole
    assert observed(*reversed(parts)) == whole
    left, right = Histogram(), Histogram()
    for part in parts:
        left = left.merge(observed(part))
        right = observed(part).merge(right)
    assert left == whole
    assert right == whole


def test_large_parts_merge_bit_for_bit():
    values = mixed(400_000)
    parts = np.split(values, [0, 1000, 150_000, 390_000])
    whole = observed(values)
    assert observed(*parts[::-1]) == whole
    a, b, c, d, e = (observed(part) for part in parts)
    assert a.merge(b.merge(c.merge(d.merge(e)))) == whole
    assert ((e.merge(d)).merge(b)).merge(a.merge(c)) == whole
    assert observed(values[:-1]) != whole


def test_absorbing_goes_on_from_a_state_and_leaves_the_other_alone():
    first, second, whole = Histogram(), Histogram(), Histogram()
    values = np.random.default_rng(2).standard_normal(9000).astype(np.float32)
    first.update(values[:4000])
    second.update(values[4000:] * 9)
    before = pickle.dumps(second)
    first.merge_from(second)
    first.update(values)
    for part in (values[:4000], values[4000:] * 9, values):
        whole.update(part)
    assert first == whole
    assert pickle.loads(before) == second


def test_merging_changes_neither_part():
    first, second = observed([1, 2]), observed([-3, 1e6])
    first.merge(second)
    assert first == observed([1, 2])
    assert second == observed([-3, 1e6])


def test_packed_bins_are_emptied_before_they_overflow():
    last_of_its_bin = np.nextafter(np.float32(2), np.float32(1))
    histogram = Histogram()
    values = np.full(2**23, last_of_its_bin)
    for _ in range(9):
        histogram.update(values)
    means, counts = histogram.bins()
    assert means.tolist() == [float(last_of_its_bin)]
    assert counts.tolist() == [9 * 2**23]


def test_one_array_larger_than_packed_bins_can_take(monkeypatch):
    values = mixed(5000)
    whole = observed(values)
    monkeypatch.setattr("calibrant.algorithms.bins.PACKED_LIMIT", 700)
    assert observed(values[:300], values[300:3000], values[3000:]) == whole


def test_full_bins_are_set_aside_and_move_with_the_window(monkeypatch):
    values = np.concatenate([np.full(3000, 1.5), np.full(900, -0.25), mixed(500)]).astype(np.float32)
    late = np.array([1e3, -2e5], np.float32)
    whole, single = observed(values, late), observed(values)
    monkeypatch.setattr("calibrant.algorithms.bins.PACKED_LIMIT", 700)
    assert observed(values, late) == whole
    parted = observed(values[:2000], values[2000:])
    assert parted == single
    restored = Histogram.from_arrays(parted.to_arrays())
    restored.update(late)
    assert restored == whole
    assert parted.merge(observed(late)) == whole


def test_memory_stays_below_half_a_megabyte(monkeypatch):
    monkeypatch.setattr("calibrant.algorithms.bins.PACKED_LIMIT", 1000)
    histogram = observed(*np.random.default_rng(0).standard_normal((50, 2000)).astype(np.float32))
    bins, tails = histogram._bins, (histogram._top, histogram._bottom)
    held = bins._packed.nbytes + 200 * len(bins._aside)
    held += sum(tail._kept.nbytes + sum(found.nbytes for found in tail._candidates) for tail in tails)
    assert held <= 2**19


def test_the_extremes_of_float32_do_not_overflow():
    largest = np.finfo(np.float32).max
    histogram = observed(np.full(1000, largest), np.full(1000, -largest), np.full(5, 1e-45))
    means, counts = histogram.bins()
    assert means.tolist() == [-float(largest), 0, float(largest)]
    assert counts.tolist() == [1000, 5, 1000]


def test_denormal_values_keep_their_means():
    values = np.array([1e-45, 3e-45, 1e-40, -1e-42], np.float32)
    means, counts = observed(values, [0, -0.0]).bins()
    assert means[0] == values[3]
    assert means @ counts == pytest.approx(values.astype(np.float64).sum(), rel=1e-12)
    assert counts[means == 0].tolist() == [2]


@given(st.lists(floats, min_size=1, max_size=60), st.sampled_from(["0.5", "0.6", "0.9", "0.99", "0.999999", "1"]))
@settings(max_examples=60, deadline=None)
def test_percentiles_are_those_of_the_sorted_array(values, fraction):
    histogram = observed(values)
    assert histogram.value_from_top(float(fraction)).value == reference.from_top(values, fraction)
    assert histogram.value_from_bottom(float(fraction)).value == reference.from_bottom(values, fraction)


@pytest.mark.parametrize("kind", [float, np.float32])
@pytest.mark.parametrize("fraction", ["0.99", "0.999", "0.9999", "0.999999", "1"])
def test_percentiles_of_a_stream_are_those_of_the_sorted_array(fraction, kind):
    values = mixed(400_000)
    histogram = observed(*np.split(values, [10, 1000, 300_000]))
    top, bottom = histogram.value_from_top(kind(fraction)), histogram.value_from_bottom(kind(fraction))
    assert top.exact
    assert bottom.exact
    assert top.value == reference.from_top(values, fraction)
    assert bottom.value == reference.from_bottom(values, fraction)


@pytest.mark.parametrize("batch", [1, 3 * TAIL, 64 * TAIL])
@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled", "repeated"])
def test_tails_survive_every_order(order, batch):
    values = np.arange(1, 64 * TAIL + 100, dtype=np.float32)
    if order == "repeated":
        values = np.minimum(values, 5)
    elif order == "shuffled":
        values = np.random.default_rng(1).permutation(values)
    elif order == "descending":
        values = values[::-1]
    histogram = observed(values[:batch], values[batch:])
    expected = np.sort(values)
    state = histogram.to_arrays()
    assert np.array_equal(state["top"], expected[-TAIL:])
    assert np.array_equal(state["bottom"], expected[:TAIL])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("period", [3, 16, 17])
def test_tails_of_periodic_data(period, sign):
    values = np.random.default_rng(0).permutation(64 * TAIL).astype(np.float32)
    values[::period] += 1e6
    state = observed(values * sign).to_arrays()
    expected = np.sort(values * sign)
    assert np.array_equal(state["top"], expected[-TAIL:])
    assert np.array_equal(state["bottom"], expected[:TAIL])


def test_the_last_exact_position_and_the_first_estimated_one():
    values = mixed(100_000)
    histogram = observed(values)
    last = 1 - TAIL / values.size
    assert histogram.value_from_top(last).exact
    beyond = histogram.value_from_top(last - 1 / values.size)
    assert not beyond.exact
    assert beyond.value == pytest.approx(np.sort(values)[-TAIL - 1], rel=2e-3)


def test_an_estimated_percentile_is_near_the_true_one_and_says_so():
    values = mixed(100_000)
    histogram = observed(values)
    for found, expected in [
        (histogram.value_from_top(0.6), reference.from_top(values, "0.6")),
        (histogram.value_from_bottom(0.7), reference.from_bottom(values, "0.7")),
    ]:
        assert not found.exact
        assert found.value == pytest.approx(expected, rel=2e-3, abs=float(np.abs(values).max()) * 2.0**-22)


@pytest.mark.parametrize("wrong", [0, -0.1, 1.0001, np.nan])
def test_impossible_percentiles_are_refused(wrong):
    with pytest.raises(ValueError, match="percentile"):
        observed([1]).value_from_top(wrong)


def test_bins_hold_every_value_near_its_mean():
    values = mixed(50_000)
    histogram = observed(values)
    means, counts = histogram.bins()
    assert np.all(np.diff(means) > 0)
    assert counts.sum() == values.size == histogram.count
    assert means @ counts == pytest.approx(values.astype(np.float64).sum(), rel=1e-6)
    codes = histogram.to_arrays()["codes"]
    keys = np.where(codes < 0, -1 - codes, codes)
    inner, outer = edges_at(keys), edges_at(keys + 1)
    low, high = np.where(codes < 0, -outer, inner), np.where(codes < 0, -inner, outer)
    if len(means) > len(codes):  # the zeros
        negative = int((codes < 0).sum())
        low, high = np.insert(low, negative, 0.0), np.insert(high, negative, 0.0)
    assert np.all((low <= means) & (means <= high))
    assert np.all(low[1:] >= high[:-1])
    assert np.all(high - low <= np.abs(means) * 2.0**-10)
    for index in (0, 1000, len(means) - 1):
        assert counts[index] == np.sum((values >= low[index]) & (values <= high[index]))


def test_values_below_a_point_are_counted_as_far_as_bins_tell():
    values = np.sort(mixed(50_000)).astype(np.float64)
    points = np.linspace(values[0] - 1, values[-1] + 1, 777)
    below = observed(values).spread_below(points)
    assert below[0] == 0
    assert below[-1] == values.size
    near = np.abs(points) * 2.0**-10  # a bin
    assert np.all(np.searchsorted(values, points - near) <= below)
    assert np.all(below <= np.searchsorted(values, points + near, side="right"))


def test_tied_values_have_exact_means():
    means, counts = observed(np.repeat(np.float32([0.1, -7.3, 0, 255]), [3, 5, 11, 2])).bins()
    assert means.tolist() == [float(np.float32(-7.3)), 0, float(np.float32(0.1)), 255]
    assert counts.tolist() == [5, 11, 3, 2]


def test_outliers_cost_the_rest_no_resolution():
    values = np.random.default_rng(0).uniform(0.5, 1, 20_000).astype(np.float32)
    alone, beside = observed(values), observed(values, [1e4, -1e4])
    assert np.array_equal(beside.bins()[0][1:-1], alone.bins()[0])


def test_values_below_the_window_count_as_zero_whenever_they_came():
    tiny = 2.0 ** -(OCTAVES + 1)
    for order in ([tiny, -tiny], [1]), ([1], [tiny, -tiny]):
        means, counts = observed(*order).bins()
        assert means.tolist() == [0, 1]
        assert counts.tolist() == [2, 1]


def test_summary_numbers():
    histogram = observed([[1, -2], [3, 0]])
    assert (histogram.count, histogram.minimum, histogram.maximum) == (4, -2, 3)
    assert histogram.power == 14 / 4


def test_negative_zero_is_zero():
    histogram = observed([-0.0, -0.0])
    assert str(histogram.minimum) == "0.0"
    assert histogram.bins()[0].tolist() == [0]


@pytest.mark.parametrize("name", ["minimum", "maximum", "power"])
def test_an_empty_histogram_has_no_summary(name):
    with pytest.raises(ValueError, match="no values"):
        getattr(Histogram(), name)
    assert [len(column) for column in Histogram().bins()] == [0, 0]


@pytest.mark.parametrize("layout", ["fortran", "strided", "read only", "scalar", "float64", "integers"])
def test_arrays_of_any_layout(layout):
    values = mixed(6000).reshape(60, 100)
    if layout == "fortran":
        assert observed(np.asfortranarray(values)) == observed(values)
    elif layout == "strided":
        assert observed(values[::2, ::-3]) == observed(values[::2, ::-3].copy())
    elif layout == "read only":
        values.flags.writeable = False
        assert observed(values) == observed(values.copy())
    elif layout == "scalar":
        assert observed(np.float32(3)) == observed([3])
    else:
        kind = np.float64 if layout == "float64" else np.int16
        whole = np.rint(np.clip(values, -1000, 1000))
        histogram = Histogram()
        histogram.update(whole.astype(kind))
        assert histogram == observed(whole.astype(kind))


@pytest.mark.parametrize("size", [3, 1000, 300_000])
@pytest.mark.parametrize("at", [0, -1])
def test_non_finite_values_are_counted(size, at):
    histogram = observed(mixed(3000, seed=3))
    values = mixed(size)
    values[at], values[size // 2] = np.nan, -np.inf
    with pytest.raises(NonFiniteError) as caught:
        histogram.update(values)
    assert (caught.value.nan_count, caught.value.infinite_count) == (1, 1)


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_every_kind_of_non_finite_value_is_found(value):
    with pytest.raises(NonFiniteError):
        observed(np.array([1, value, 2], np.float32))


@given(batches)
@settings(max_examples=40, deadline=None)
def test_the_state_survives_a_file_and_can_go_on(parts):
    histogram = observed(*parts)
    file = io.BytesIO()
    np.savez(file, **histogram.to_arrays())
    file.seek(0)
    with np.load(file) as arrays_read:
        read = Histogram.from_arrays(dict(arrays_read))
    assert read == histogram
    for one in (read, histogram):
        one.update(np.float32([1e3, -5, 0]))
    assert read == histogram


def test_pickling_keeps_the_state():
    histogram = observed(mixed(30_000))
    assert pickle.loads(pickle.dumps(histogram)) == histogram


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layout", [1, 9, 24, 4096]),
        ("count", -1),
        ("count", 4),
        ("count", np.inf),
        ("count", [3]),
        ("counts", [1, 1]),
        ("counts", [1, 1, -1]),
        ("counts", [1, 1, 2**62]),
        ("counts", [1.0, 1.0, np.nan]),
        ("position_sums", [0, -1, 0]),
        ("position_sums", [0, 1 << 13, 0]),
        ("codes", [5, 5, 5]),
        ("codes", [-5, 0, 1 << 19]),
        ("top", [1.0, np.nan, 3.0]),
        ("bottom", []),
    ],
)
def test_a_damaged_state_is_refused(name, value):
    arrays = observed([1, -2, 3]).to_arrays()
    assert Histogram.from_arrays(arrays).count == 3
    with pytest.raises(ValueError, match="histogram state"):
        Histogram.from_arrays({**arrays, name: np.asarray(value)})


def test_an_incomplete_state_is_refused():
    arrays = observed([1]).to_arrays()
    del arrays["codes"]
    with pytest.raises(ValueError, match="without codes"):
        Histogram.from_arrays(arrays)


def test_different_ones_may_be_updated_by_several_threads():
    tensors = [mixed(size, seed=size) for size in (10, 200_000, 5000, 0, 70_000)]
    histograms = [Histogram() for _ in tensors]
    with ThreadPoolExecutor(2) as executor:
        for _ in range(3):
            list(executor.map(Histogram.update, histograms, tensors))
    assert histograms == [observed(tensor, tensor, tensor) for tensor in tensors]


@pytest.mark.real
def test_real_data_in_any_order(shared):
    with np.load(shared / "real" / "resnet8_cifar10" / "cifar10_part.npz") as file:
        images = file["x_calibration"].astype(np.float32)
    with gzip.open(shared / "real" / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
        digits = np.frombuffer(file.read(), np.uint8, offset=16)[:2_000_000].astype(np.float32) / np.float32(255)
    for values in (images, digits):
        parts = np.array_split(values, 7)
        histogram = observed(*parts)
        assert histogram == observed(*parts[::-1])
        for fraction in ("0.999", "0.999999"):
            assert histogram.value_from_top(float(fraction)).value == reference.from_top(values, fraction)
            assert histogram.value_from_bottom(float(fraction)).value == reference.from_bottom(values, fraction)
