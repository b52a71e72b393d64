"""The mean patch against convolutions that are worked out position by position."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from calibrant.algorithms.patch_mean import ConvAxis, PatchGeometry, PatchMean, mean_of_outputs
from reference.bias_correction import convolution, transposed_convolution

PADDINGS = st.one_of(st.sampled_from(["SAME", "VALID"]), st.tuples(st.integers(0, 3), st.integers(0, 3)))
WINDOWS = st.builds(
    ConvAxis, size=st.integers(1, 4), stride=st.integers(1, 3), dilation=st.integers(1, 3), padding=PADDINGS
)


def reaches(length, window):
    """Whether the kernel has at least one position."""
    return window.positions(length) > 0


@st.composite
def cases(draw):
    """Input [N, *spatial, in] and one window per spatial axis, with at least one output position."""
    rank = draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(1, 9 if rank < 3 else 4), min_size=rank, max_size=rank))
    windows = [draw(WINDOWS.filter(lambda window, n=length: reaches(n, window))) for length in lengths]
    shape = (draw(st.integers(1, 3)), *lengths, draw(st.integers(1, 3)))
    return np.random.default_rng(draw(st.integers(0, 99))).normal(1, 2, shape).astype(np.float32), tuple(windows)


def geometry_of(windows):
    return PatchGeometry(-1, tuple(range(1, 1 + len(windows))), windows)


def seen(geometry, *batches):
    result = PatchMean(geometry)
    for batch in batches:
        result.update(batch)
    return result


@settings(max_examples=60, deadline=None)
@given(cases())
def test_mean_of_a_convolution(case):
    x, windows = case
    kernel = np.random.default_rng(3).normal(0, 1, (*(window.size for window in windows), x.shape[-1], 2))
    expected = convolution(x, kernel, windows).mean(axis=tuple(range(x.ndim - 1)))
    found = mean_of_outputs(seen(geometry_of(windows), x).mean(), kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(cases(), st.data())
def test_mean_of_a_transposed_convolution(case, data):
    x, windows = case
    windows = [replace(window, transposed=True, dilation=1) for window in windows]
    counts = []
    for length, window in zip(x.shape[1:-1], windows, strict=True):
        # Output lengths whose forward convolution has as many positions as this input.
        forward = replace(window, transposed=False)
        fitting = [n for n in range(1, 60) if forward.positions(n) == length]
        assume(fitting)
        counts.append(data.draw(st.sampled_from(fitting)))
    kernel = np.random.default_rng(3).normal(0, 1, (*(window.size for window in windows), x.shape[-1], 2))
    expected = transposed_convolution(x, kernel, windows, counts).mean(axis=tuple(range(x.ndim - 1)))
    windows = tuple(replace(window, outputs=count) for window, count in zip(windows, counts, strict=True))
    found = mean_of_outputs(seen(geometry_of(windows), x).mean(), kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("padding, expected", [("SAME", 10), ("VALID", 11), ((1, 1), 9)])
def test_outputs_of_a_transposed_convolution_where_the_graph_does_not_say(padding, expected):
    assert ConvAxis(3, stride=2, padding=padding, transposed=True).positions(5) == expected


def test_depthwise_kernel_and_groups():
    x = np.random.default_rng(0).normal(1, 1, (2, 5, 4, 6)).astype(np.float32)
    windows = (ConvAxis(3, padding="SAME"), ConvAxis(3, padding="SAME"))
    patch = seen(geometry_of(windows), x).mean()
    kernel = np.random.default_rng(1).normal(0, 1, (3, 3, 6, 2))
    by_channel = [convolution(x[..., c : c + 1], kernel[:, :, c : c + 1], windows).mean((0, 1, 2)) for c in range(6)]
    np.testing.assert_allclose(mean_of_outputs(patch, kernel, depthwise=True), np.concatenate(by_channel))
    grouped = np.random.default_rng(2).normal(0, 1, (3, 3, 2, 9))
    by_group = [
        convolution(x[..., 2 * g : 2 * g + 2], grouped[..., 3 * g : 3 * g + 3], windows).mean((0, 1, 2))
        for g in range(3)
    ]
    np.testing.assert_allclose(mean_of_outputs(patch, grouped), np.concatenate(by_group))


def test_channels_first_is_the_same_as_channels_last():
    x = np.random.default_rng(0).normal(0, 1, (2, 5, 4, 3)).astype(np.float32)
    windows = (ConvAxis(3, 2, padding="SAME"), ConvAxis(2, 1, 2))
    last = seen(PatchGeometry(-1, (1, 2), windows), x)
    first = seen(PatchGeometry(1, (2, 3), windows), np.ascontiguousarray(np.moveaxis(x, -1, 1)))
    assert first.count == last.count == 2 * 3 * 2
    np.testing.assert_allclose(first.mean(), last.mean(), rtol=1e-12)


@pytest.mark.parametrize(
    "windows", [(ConvAxis(1), ConvAxis(1)), (ConvAxis(1), ConvAxis(3, 2)), (ConvAxis(2, 1, 2), ConvAxis(1))]
)
def test_an_axis_that_a_kernel_visits_once_counts_as_batch(windows):
    x = np.random.default_rng(0).normal(1, 1, (3, 5, 6, 4)).astype(np.float32)
    kernel = np.random.default_rng(1).normal(0, 1, (*(window.size for window in windows), 4, 2))
    patch = seen(geometry_of(windows), x)
    expected = convolution(x, kernel, windows)
    assert patch.mean().shape == (*(window.size for window in windows), 4)
    assert patch.count == expected.size // 2
    np.testing.assert_allclose(mean_of_outputs(patch.mean(), kernel), expected.mean((0, 1, 2)))


def test_rows_of_a_matrix_product_may_have_any_number_of_axes():
    x = np.random.default_rng(0).normal(0, 1, (2, 7, 3)).astype(np.float32)
    found = seen(PatchGeometry(), x)
    assert found.count == 14
    np.testing.assert_allclose(found.mean(), x.mean((0, 1), dtype=np.float64), rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(5)), st.integers(0, 5), st.integers(-30, 30))
def test_any_order_and_any_sharding_give_the_same_state(order, cut, exponent):
    random = np.random.default_rng(5)
    batches = [np.ldexp(random.normal(0, 1, (2, 4, 3)), exponent).astype(np.float32) for _ in range(5)]
    geometry = PatchGeometry(-1, (1,), (ConvAxis(2),))
    whole = seen(geometry, *batches)
    parts = [seen(geometry, *(batches[i] for i in order[:cut])), seen(geometry, *(batches[i] for i in order[cut:]))]
    for first, second in itertools.permutations(parts):
        merged = first.merge(second)
        assert merged == whole
        assert merged.mean().tobytes() == whole.mean().tobytes()
    stored = PatchMean.from_arrays(geometry, whole.to_arrays())
    assert stored == whole and stored.mean().tobytes() == whole.mean().tobytes()


def test_accumulators_of_different_layers_do_not_merge():
    with pytest.raises(ValueError, match="different layers"):
        PatchMean(PatchGeometry()).merge(PatchMean(PatchGeometry(1)))


def test_nothing_seen_has_no_mean():
    with pytest.raises(ValueError, match="no patches"):
        PatchMean(PatchGeometry()).mean()
    assert PatchMean.from_arrays(PatchGeometry(), PatchMean(PatchGeometry()).to_arrays()) == PatchMean(PatchGeometry())


def test_a_stored_state_can_be_taken_in():
    values = np.random.default_rng(4).standard_normal((6, 5)).astype(np.float32)
    whole, first, second, third = (PatchMean(PatchGeometry()) for _ in range(4))
    whole.update(values[:4])
    whole.update(values[4:])
    first.update(values[:4])
    second.update(values[4:])
    first.merge_arrays(PatchMean(PatchGeometry()).to_arrays())
    first.merge_arrays(second.to_arrays())
    third.merge_from(first)
    third.update(values)
    equal = [np.array_equal(found, whole.to_arrays()[key]) for key, found in first.to_arrays().items()]
    assert equal and all(equal)


@pytest.mark.parametrize(
    ("name", "value"),
    [("count", -1), ("count", 0), ("count", np.inf), ("count", [4]), ("sum", np.full((4, 5), np.nan)), ("sum", [1])],
)
def test_a_damaged_state_is_refused(name, value):
    seen = PatchMean(PatchGeometry())
    seen.update(np.ones((4, 5), np.float32))
    with pytest.raises(ValueError, match="positions|a sum of"):
        PatchMean.from_arrays(PatchGeometry(), {**seen.to_arrays(), name: np.asarray(value)})
