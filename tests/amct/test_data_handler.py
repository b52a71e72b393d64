"""Folders of .bin files as feeds of a session."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.amct.common.cmd_line_utils.data_handler import load_data
from calibrant.errors import DataError
from graphs import numbers

SHAPES = {"a:0": [2, 3], "b:0": [2, 4]}


@pytest.fixture
def both(tmp_path):
    """A folder with a sub-folder of two files for each of two inputs."""
    for name, size in (("a", 3), ("b", 4)):
        (tmp_path / "both" / name).mkdir(parents=True)
        for number in range(2):
            numbers(2, size, seed=number).tofile(tmp_path / "both" / name / f"{number}.bin")
    return tmp_path / "both"


@pytest.mark.parametrize("form", ["{0}", "{0}/a;{0}/b"])
@pytest.mark.parametrize("types", ["float32;float32", "FLOAT32;Float32", ["float32", np.float32]])
def test_one_folder_or_one_for_each_input(form, types, both):
    batches = list(load_data(SHAPES, form.format(both), types, 2))
    assert len(batches) == 2
    for number, batch in enumerate(batches):
        np.testing.assert_array_equal(batch["a:0"], numbers(2, 3, seed=number))
        np.testing.assert_array_equal(batch["b:0"], numbers(2, 4, seed=number))


def test_the_size_of_a_file_says_an_open_batch(both):
    (batch,) = load_data({"a": [-1, 3]}, [str(both / "a")], ["float32"], 1)
    assert batch["a"].shape == (2, 3)


@pytest.mark.parametrize(
    ("shapes", "paths", "types", "message"),
    [
        (SHAPES, "{0}", "float32", "2 inputs, 1 folders and 1 types"),
        (SHAPES, "{0};{0};{0}", "float32;float32", "2 inputs, 3 folders and 2 types"),
        ({"a": [2, -1]}, "{0}/a", "float32", r"(?s)input 'a': the shape given is \[2, -1\].*only the batch"),
        ({"a": [2, None]}, "{0}/a", "float32", r"the shape given is \[2, \?\]"),
        ({"a": [0, 3]}, "{0}/a", "float32", r"the shape given is \[0, 3\]"),
        ({"a": [2, "x"]}, "{0}/a", "float32", "the shape given is"),
        ({"a": 3}, "{0}/a", "float32", "(?s)the shape given is 3.*allowed: a list"),
        ({"a": [2, 3]}, "{0}/a", "foo", "(?s)the data type 'foo' is not known.*allowed: float32, .*int8, "),
        ({"a": [2, 3], "c": [2, 4]}, "{0}", "float32;float32", "input 'c': neither a folder nor an array"),
    ],
)
def test_what_cannot_be_read_is_told(shapes, paths, types, message, both):
    with pytest.raises(DataError, match=message):
        list(load_data(shapes, paths.format(both), types, 1))
