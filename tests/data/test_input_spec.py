"""What the user adds about inputs: shapes and types of raw files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.data.input_spec import (
    InputSpec,
    meant_inputs,
    parse_data_types,
    parse_input_shapes,
    raw_dtypes,
    with_shapes,
)
from calibrant.errors import DataError

X = InputSpec("x:0", (None, None, 3), np.float32)

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_/.]{0,8}(:0)?", fullmatch=True)
sizes = st.lists(st.one_of(st.none(), st.integers(1, 4096)), min_size=1, max_size=5).map(tuple)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(names, sizes, min_size=1, max_size=4))
def test_shapes_as_written_come_back(shapes):
    if len({name.removesuffix(":0") for name in shapes}) < len(shapes):
        return
    words = (
        f"{name}:{','.join('-1' if size is None else str(size) for size in shape)}" for name, shape in shapes.items()
    )
    assert parse_input_shapes(";".join(words)) == shapes


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab:;,-01 x", max_size=20))
def test_any_text_gives_shapes_or_one_error(text):
    try:
        assert all(size is None or size > 0 for shape in parse_input_shapes(text).values() for size in shape)
    except DataError as error:
        assert error.problems


@pytest.mark.parametrize("text", ["", "1,2,3", "x:", "x:1,a", "x:0,3", "x:-2", "x:1;x:0:2"])
def test_shapes_that_cannot_be_read(text):
    with pytest.raises(DataError):
        parse_input_shapes(text)


def test_an_input_is_called_by_its_own_name_before_another_ones_alias():
    inputs = [InputSpec("a", None, np.float32, ("b:0",)), InputSpec("b", None, np.float32, ("c",))]
    assert meant_inputs(["a:0", "b", "c:0", "d"], inputs) == {"a:0": "a", "b": "b", "c:0": "b"}


def test_shape_completes_the_models():
    (spec,) = with_shapes([X], {"x": (-1, 7, 3)})
    assert spec.shape == (None, 7, 3)


@pytest.mark.parametrize("shape", [(1, 7, 4), (7, 3)])
def test_shape_that_contradicts_the_models(shape):
    with pytest.raises(DataError, match=r"input 'x:0': the shape given is .*, the model's is \[\?, \?, 3\]"):
        with_shapes([X], {"x": shape})


@pytest.mark.parametrize("shape", [3, "224", ["7"], [None, 7.5, 3], (1, 7, True), None, {1: 7}])
def test_what_is_no_shape(shape):
    with pytest.raises(DataError, match=r"input 'x:0': the shape given is .*\n    allowed: a list of whole numbers"):
        with_shapes([X], {"x": shape})


def test_shape_for_an_unknown_input():
    with pytest.raises(DataError, match="'imag', which is no input(.|\n)*did you mean 'image'"):
        with_shapes([InputSpec("image", None, np.float32)], {"imag": (1,)})


def test_types():
    types = parse_data_types("uint8; int32", ["x:0", "y"])
    assert types == {"x:0": np.uint8, "y": np.int32}
    assert parse_data_types("FLOAT32;B;b", "xyz") == {"x": np.float32, "y": np.uint8, "z": np.int8}
    assert raw_dtypes([X], {"x": "uint8"}) == {"x:0": np.uint8}
    assert raw_dtypes([X], None) == {"x:0": np.float32}


def test_wrong_types():
    with pytest.raises(DataError, match="'flot32' is not known(.|\n)*did you mean 'float32'"):
        parse_data_types("flot32", ["x"])
    with pytest.raises(DataError, match="'FLOT32' is not known(.|\n)*allowed: float32, (.|\n)*did you mean 'float32'"):
        parse_data_types("FLOT32", ["x"])
    with pytest.raises(DataError, match="1 data types are given for 2 inputs"):
        parse_data_types("float32", ["x", "y"])
