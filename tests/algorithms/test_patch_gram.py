"""Second moments of input patches against patches that are cut out one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.test_patch_mean import cases, geometry_of
from calibrant.algorithms import patch_gram
from calibrant.algorithms.patch_gram import PatchGram, chosen_patches, in_blocks, out_of_blocks, whole_patches
from calibrant.algorithms.patch_mean import ConvAxis, PatchGeometry, PatchMean
from reference.bias_correction import transposed_convolution
from reference.output_rounding import patches


def seen(geometry, group, *batches):
    result = PatchGram(geometry, group)
    for batch in batches:
        result.update(batch)
    return result


@settings(max_examples=40, deadline=None)
@given(cases())
def test_moments_of_a_convolution(case):
    x, windows = case
    channels = x.shape[-1]
    rows = patches(x, windows)
    found = seen(geometry_of(windows), channels, x)
    flat = rows.reshape(len(rows), -1)
    tolerance = 1e-4 * np.square(x).max()
    np.testing.assert_allclose(found.moments(), [flat.T @ flat / len(rows)], atol=tolerance)
    depthwise = seen(geometry_of(windows), 1, x).moments()
    np.testing.assert_allclose(depthwise, np.einsum("nkc,nlc->ckl", rows, rows) / len(rows), atol=tolerance)


def test_moments_of_a_transposed_convolution_give_the_power_of_its_outputs():
    random = np.random.default_rng(0)
    x, kernel = random.normal(0, 1, (2, 4, 3, 2)).astype(np.float32), random.normal(0, 1, (3, 2, 2, 5))
    windows = ConvAxis(3, 2, 1, "SAME", True, 8), ConvAxis(2, 1, 1, "VALID", True, 4)
    outputs = transposed_convolution(x, kernel, windows, (8, 4))
    found = seen(geometry_of(windows), 2, x).moments()[0]
    flat = kernel.reshape(-1, 5)
    power = np.einsum("ro,rs,so->o", flat, found, flat)
    np.testing.assert_allclose(power, np.square(outputs).mean(axis=(0, 1, 2)), rtol=1e-3)


def test_wide_layers_have_blocks(monkeypatch):
    monkeypatch.setattr(patch_gram, "LARGEST_BLOCK", 3)
    x = np.random.default_rng(0).normal(0, 1, (9, 5)).astype(np.float32)
    found = seen(PatchGeometry(), 5, x).moments()
    whole = x.T.astype(np.float64) @ x / 9
    assert found.shape == (2, 3, 3)
    np.testing.assert_allclose(found[0], whole[:3, :3], atol=1e-3)
    np.testing.assert_allclose(found[1][:2, :2], whole[3:, 3:], atol=1e-3)
    assert not found[1][2].any(), "filled up with zeros"


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 9), st.integers(1, 3), st.integers(1, 9))
def test_blocks_hold_everything_once(offsets, groups, group, columns, largest):
    values = np.random.default_rng(0).normal(0, 1, (offsets, groups * group, columns))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_gram, "LARGEST_BLOCK", largest)
        blocks = in_blocks(values, group)
        np.testing.assert_array_equal(out_of_blocks(blocks, offsets, group), values)
        np.testing.assert_allclose(np.square(blocks).sum(), np.square(values).sum())


@settings(max_examples=20, deadline=None)
@given(cases(), st.permutations(range(4)))
def test_neither_the_order_of_batches_nor_who_saw_them_shows(case, order):
    x, windows = case
    geometry, group = geometry_of(windows), x.shape[-1]
    batches = [x, 3 * x, x[:1], 0 * x]
    whole = seen(geometry, group, *batches)
    assert whole == seen(geometry, group, *(batches[place] for place in order))
    first, second = seen(geometry, group, *batches[:2]), seen(geometry, group, *batches[2:])
    second.merge_from(first)
    assert second == whole
    stored = PatchGram(geometry, group)
    stored.merge_arrays(whole.to_arrays())
    stored.merge_arrays(PatchGram(geometry, group).to_arrays())
    assert stored == whole


def test_other_kinds_are_refused():
    with pytest.raises(ValueError, match="different layers"):
        PatchGram(PatchGeometry(), 3).merge_from(PatchGram(PatchGeometry(), 1))
    with pytest.raises(ValueError, match="no patches"):
        PatchGram(PatchGeometry(), 3).moments()
    assert PatchGram(PatchGeometry(), 3) != PatchMean(PatchGeometry())


@settings(max_examples=60, deadline=None)
@given(cases(), st.booleans(), st.integers(1, 9), st.booleans(), st.integers(1, 200))
def test_chosen_patches_are_those_of_all(case, transposed, step, depthwise, at_a_time):
    x, windows = case
    if transposed:
        windows = tuple(ConvAxis(each.size, each.stride, 1, "SAME", transposed=True) for each in windows)
    group = 1 if depthwise else x.shape[-1]
    whole = np.concatenate(list(whole_patches(x, -10, geometry_of(windows), group)), axis=-1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(patch_gram, "_VALUES_AT_A_TIME", at_a_time)
        found = list(chosen_patches(x, -10, geometry_of(windows), group, step))
    np.testing.assert_array_equal(np.concatenate(found, axis=-1), whole[..., ::step])


def test_chosen_patches_where_channels_are_first():
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 4, 5, 6)).astype(np.float32)
    geometry = PatchGeometry(1, (3, 4), (ConvAxis(3, 2, 1, "SAME"), ConvAxis(2)))
    whole = np.concatenate(list(whole_patches(x, -10, geometry, 3)), axis=-1)
    found = np.concatenate(list(chosen_patches(x, -10, geometry, 3, 3)), axis=-1)
    np.testing.assert_array_equal(found, whole[..., ::3])
