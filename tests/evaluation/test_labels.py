"""Files of labels of every kind."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from calibrant.errors import DataError
from calibrant.evaluation.labels import as_labels, load_labels

LABELS = np.array([3, 0, 9, 1, 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_class_numbers_of_every_type(tmp_path, dtype, shape):
    np.save(tmp_path / "y.npy", LABELS.astype(dtype).reshape(shape))
    labels = load_labels(tmp_path / "y.npy")
    assert labels.dtype == np.int64 and labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_one_hot_rows(tmp_path, dtype):
    np.save(tmp_path / "y.npy", np.eye(10, dtype=dtype)[LABELS])
    assert load_labels(tmp_path / "y.npy").argmax(axis=1).tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.ones((5, 4, 4)), "y": LABELS, "label_names": np.array(["a", "b"])},
        {"x": np.ones((5, 4), np.float32), "anything": LABELS},
        {"specs": np.ones((5, 3, 1, 4)), "labels": LABELS.astype(np.float64)},
        {"index": np.arange(5), "y": LABELS},
    ],
)
def test_labels_among_other_arrays(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    assert load_labels(tmp_path / "a.npz").tolist() == LABELS.tolist()


def test_several_candidates_are_listed_and_one_can_be_chosen(tmp_path):
    np.savez(tmp_path / "a.npz", y_one=LABELS, y_two=LABELS + 1)
    with pytest.raises(DataError, match=r"several arrays can be labels: y_one, y_two(.|\n)*a\.npz:NAME"):
        load_labels(tmp_path / "a.npz")
    assert load_labels(f"{tmp_path}/a.npz:y_two[1:3]").tolist() == [1, 10]


def test_text(tmp_path):
    (tmp_path / "y.txt").write_text("3\n0\n9\r\n 1\n1\n\n")
    assert load_labels(tmp_path / "y.txt").tolist() == LABELS.tolist()
    assert load_labels(f"{tmp_path}/y.txt[2:4]").tolist() == [9, 1]


def test_rows_of_text(tmp_path):
    (tmp_path / "y.csv").write_text("0, 0,1\n1,0,0\n0,1,0\n\n")
    assert load_labels(tmp_path / "y.csv").tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert load_labels(f"{tmp_path}/y.csv[1:]").tolist() == [[1, 0, 0], [0, 1, 0]]
    (tmp_path / "y.csv").write_text("0.5,2\n1,0\n")
    assert load_labels(tmp_path / "y.csv").tolist() == [[0.5, 2], [1, 0]]


@pytest.mark.parametrize(
    "text, message",
    [
        ("1,0\n0,1,0\n", r"y\.csv:2: '0,1,0' has 3 numbers, the first line has 2"),
        ("1,0\n1\n", r"y\.csv:2: '1' has 1 numbers"),
    ],
)
def test_rows_of_text_that_are_no_labels(tmp_path, text, message):
    (tmp_path / "y.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_labels(tmp_path / "y.csv")
    (tmp_path / "y.txt").write_text("0,1\n")
    with pytest.raises(DataError, match="'0,1' is no label"):
        load_labels(tmp_path / "y.txt")


@pytest.mark.parametrize("line", ["label", "1,", "1;2", "", "٣", "9" * 50, "nan"])
def test_text_that_is_no_number_names_the_line(tmp_path, line):
    (tmp_path / "y.csv").write_text(f"0\n{line}\n1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"y\.csv:2: .* is no label"):
        load_labels(tmp_path / "y.csv")


def test_idx(tmp_path):
    content = struct.pack(">BBBBI", 0, 0, 8, 1, 5) + LABELS.astype(np.uint8).tobytes()
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
    assert load_labels(tmp_path / "t10k-labels-idx1-ubyte.gz").tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    "array, message",
    [
        (np.array([0, 2**40]), r"label 1099511627776 of sample 1 is no class number"),
        (np.array([np.nan]), "label nan of sample 0"),
        (np.array(["cat"]), "labels of type"),
        (np.ones((2, 2, 2, 2, 2, 2)), r"labels of shape \[2, 2, 2, 2, 2, 2\]"),
    ],
)
def test_values_that_are_no_labels(tmp_path, array, message):
    np.save(tmp_path / "y.npy", array)
    with pytest.raises(DataError, match=message):
        load_labels(tmp_path / "y.npy")


@pytest.mark.parametrize("name, content", [("y.txt", b""), ("y.txt", b"\xff\xfe1"), ("y.png", b"x"), ("y.npz", b"x")])
def test_files_that_hold_no_labels(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        load_labels(tmp_path / name)


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_labels(tmp_path / "none.npy")
    with pytest.raises(DataError, match="no image is in a class folder"):
        load_labels(tmp_path)


def test_numbers_to_be_predicted(tmp_path):
    targets = np.array([[0.5, 2.0], [-3.0, 0.0]], np.float32)
    np.save(tmp_path / "y.npy", targets)
    assert load_labels(tmp_path / "y.npy").tolist() == targets.tolist()
    (tmp_path / "y.txt").write_text("1.5\n-2e3\n3\n")
    assert load_labels(tmp_path / "y.txt").tolist() == [1.5, -2000, 3]


def test_maps_keep_their_type(tmp_path):
    maps = np.array([[[0, 2], [1, 255]]], np.uint8)
    np.save(tmp_path / "y.npy", maps[..., np.newaxis])
    assert load_labels(tmp_path / "y.npy").dtype == np.uint8
    assert as_labels(maps > 0, "here").dtype == np.uint8
