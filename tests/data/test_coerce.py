"""Shapes that data may have for an input: unambiguous ones only."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.data.coerce import fit_shape, shape_problem
from calibrant.data.input_spec import InputSpec

FITS = [
    ((8, 49, 10), (None, 49, 10, 1), (8, 49, 10, 1)),
    ((8, 49, 10, 1), (None, 49, 10), (8, 49, 10)),
    ((8, 1, 49, 10), (None, 49, 10, 1), (8, 49, 10, 1)),
    ((8, 490), (None, 49, 10, 1), (8, 49, 10, 1)),
    ((8, 28, 28), (None, 784), (8, 784)),
    ((8,), (None, 1), (8, 1)),
    ((8, 1), (None,), (8,)),
    ((8, 7, 3), (None, None, 3), (8, 7, 3)),
    ((8, 7, 3), (None, None, 3, 1), (8, 7, 3, 1)),
    ((8, 5), None, (8, 5)),
    ((1, 1), (), ()),
]
DOES_NOT = [
    ((8, 3, 32, 32), (None, 32, 32, 3)),
    ((8, 14, 56), (None, 28, 28)),
    ((8, 49, 11), (None, 49, 10, 1)),
    ((8, 784), (None, None, 28)),
    ((8,), (None, 4)),
    ((4, 4), (8, 4)),
    ((2,), ()),
    ((), (None, 4)),
    ((4,), (None, 4)),
]


@pytest.mark.parametrize("found, wanted, expected", FITS)
def test_fits(found, wanted, expected):
    assert fit_shape(found, wanted) == expected


@pytest.mark.parametrize("found, wanted", DOES_NOT)
def test_does_not_fit(found, wanted):
    assert fit_shape(found, wanted) is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.lists(st.one_of(st.none(), st.integers(1, 5)), min_size=1, max_size=4),
)
def test_a_fitted_shape_agrees_with_the_input_and_keeps_every_value(found, wanted):
    fitted = fit_shape(tuple(found), tuple(wanted))
    if fitted is not None:
        assert math.prod(fitted) == math.prod(found) and len(fitted) == len(wanted)
        assert all(size in (None, got) for size, got in zip(wanted, fitted, strict=True))
        assert fitted[0] == found[0]


def test_other_order_of_axes_is_hinted_at():
    problem = shape_problem((8, 3, 32, 32), InputSpec("image", (None, 32, 32, 3), "f4"), "x.npy", None)
    assert str(problem) == (
        "x.npy: input 'image': the data have shape [8, 3, 32, 32], the input wants [?, 32, 32, 3]\n"
        "    hint: the axes are in another order; transpose the data"
    )


def test_fixed_batch_is_hinted_at():
    problem = shape_problem((4, 5), InputSpec("x", (1, 5), "f4"), None, "item 3")
    assert problem.message.startswith("item 3: ") and problem.hint == "the model's batch is fixed at 1"
