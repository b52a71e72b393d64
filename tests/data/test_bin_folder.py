"""Folders of raw files: one file a batch."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.data.open_data import InputSpec, open_data
from calibrant.errors import DataError

IMAGE = InputSpec("image", (None, 4, 4, 1), np.float32)
CODE = InputSpec("code", (None, 3), np.int32)


def write(folder, arrays, dtype="<f4"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        (folder / name).write_bytes(np.asarray(array).astype(dtype).tobytes())
    return folder


def batch(value, many=2):
    return np.full((many, 4, 4, 1), value)


def test_files_are_batches_sorted_by_name(tmp_path):
    folder = write(tmp_path, {"b.bin": batch(2), "a.bin": batch(1, many=3), "c.bin": batch(3)})
    (folder / "notes.txt").write_text("ignored")
    (folder / ".DS_Store").write_text("ignored")
    batches = open_data(folder, [IMAGE])
    read = [(array["image"].shape[0], array["image"].max()) for array in batches]
    assert read == [(3, 1.0), (2, 2.0), (2, 3.0)]
    assert batches.count == 3 and batches.samples == 7
    assert [len(array["image"]) for array in batches] == [3, 2, 2]


def test_shape_and_type_that_the_user_adds(tmp_path):
    folder = write(tmp_path, {"a.bin": np.arange(8).reshape(2, 4)}, "<u1")
    unknown = InputSpec("x:0", None, np.float32)
    (read,) = open_data(folder, [unknown], shapes={"x": (-1, 4)}, dtypes={"x": "uint8"})
    assert read["x:0"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]] and read["x:0"].dtype == np.float32


@pytest.mark.parametrize("kind", [">f4", ">f8", ">i2", "<f4", "float32"])
def test_bytes_in_the_order_that_the_type_names(tmp_path, kind):
    folder = write(tmp_path, {"a.bin": batch(3)}, kind)
    (read,) = open_data(folder, [IMAGE], dtypes={"image": kind})
    np.testing.assert_array_equal(read["image"], batch(3))
    assert read["image"].dtype.isnative


def test_one_input_in_a_sub_folder_named_after_it(tmp_path):
    write(tmp_path / "image", {"1.bin": batch(2), "0.bin": batch(1)})
    assert [array["image"].max() for array in open_data(tmp_path, [IMAGE])] == [1.0, 2.0]


def test_files_in_a_sub_folder_of_another_name(tmp_path):
    write(tmp_path / "x", {"0.bin": batch(1)})
    with pytest.raises(DataError, match=r"no sub-folder 'image' with \.bin files; there is x(.|\n)*give the folder"):
        open_data(tmp_path, [IMAGE])
    assert open_data(tmp_path / "x", [IMAGE]).count == 1


def test_several_inputs_in_sub_folders_named_after_them(tmp_path):
    write(tmp_path / "image", {"0.bin": batch(1)})
    write(tmp_path / "code", {"0.bin": np.ones((2, 3))}, "<i4")
    (read,) = open_data(str(tmp_path), [IMAGE, CODE])
    assert read["image"].shape == (2, 4, 4, 1) and read["code"].dtype == np.int32


def test_several_inputs_separated_by_semicolons_in_their_order(tmp_path):
    one = write(tmp_path / "first", {"0.bin": batch(1)})
    two = write(tmp_path / "second", {"0.bin": np.ones((2, 3))}, "<i4")
    for source in (f"{one};{two}", [one, str(two)], {"code": two, "image": one}):
        (read,) = open_data(source, [IMAGE, CODE])
        assert read["image"].max() == 1 and read["code"].shape == (2, 3)


def test_every_file_of_the_wrong_size_is_listed(tmp_path):
    folder = write(tmp_path, {"a.bin": batch(1), "b.bin": np.ones(17), "c.bin": np.ones(0)})
    with pytest.raises(DataError) as caught:
        open_data(folder, [IMAGE])
    assert [problem.file for problem in caught.value.problems] == [str(folder / "b.bin"), str(folder / "c.bin")]
    assert "'image': [?, 4, 4, 1] of float32 is a multiple of 64 bytes, the file has 68" in str(caught.value)


def test_file_that_is_not_the_fixed_batch(tmp_path):
    folder = write(tmp_path, {"a.bin": batch(1, many=2)})
    with pytest.raises(DataError, match=r"\[1, 4, 4, 1\] of float32 is 64 bytes, the file has 128"):
        open_data(folder, [IMAGE], shapes={"image": (1, 4, 4, 1)})


def test_many_wrong_files_are_counted_not_listed(tmp_path):
    folder = write(tmp_path, {f"{index:02}.bin": np.ones(1) for index in range(30)})
    with pytest.raises(DataError) as caught:
        open_data(folder, [IMAGE])
    assert len(caught.value.problems) == 11 and "20 more files" in str(caught.value)


def test_unknown_shape_says_how_to_give_it(tmp_path):
    folder = write(tmp_path, {"a.bin": batch(1)})
    with pytest.raises(DataError, match=r"raw files need a whole shape(.|\n)*hint: give the input shape"):
        open_data(folder, [InputSpec("image", (None, None, None, 1), np.float32)])


def test_not_a_number_names_the_file(tmp_path):
    folder = write(tmp_path, {"a.bin": batch(1), "b.bin": batch(np.nan)})
    with pytest.raises(DataError, match=r"b\.bin: input 'image': NaN at sample 0 of it, index \[0, 0, 0\]; 32 such"):
        list(open_data(folder, [IMAGE]))


def test_too_few_files(tmp_path):
    folder = write(tmp_path, {"a.bin": batch(1)})
    with pytest.raises(DataError, match="batch_num is 2, the data are 1 batches"):
        open_data(folder, [IMAGE], batch_num=2)


def test_other_number_of_files_for_another_input(tmp_path):
    write(tmp_path / "image", {"0.bin": batch(1), "1.bin": batch(1)})
    write(tmp_path / "code", {"0.bin": np.ones((2, 3))}, "<i4")
    with pytest.raises(DataError, match="the inputs need the same number"):
        open_data(tmp_path, [IMAGE, CODE])


def test_file_removed_while_reading(tmp_path):
    folder = write(tmp_path, {"a.bin": batch(1)})
    batches = open_data(folder, [IMAGE])
    (folder / "a.bin").unlink()
    with pytest.raises(DataError, match=r"a\.bin: the file cannot be read: No such file"):
        list(batches)


def test_missing_folder_for_one_input_lists_what_there_is(tmp_path):
    write(tmp_path / "image", {"0.bin": batch(1)})
    write(tmp_path / "cod", {"0.bin": np.ones((2, 3))}, "<i4")
    with pytest.raises(DataError, match=r"'code': neither a folder nor an array(.|\n)*did you mean 'cod'"):
        open_data(tmp_path, [IMAGE, CODE])


def test_other_number_of_folders_than_inputs(tmp_path):
    with pytest.raises(DataError, match=r"3 sources for 2 inputs \(image, code\)"):
        open_data("a;b;c", [IMAGE, CODE])


def test_empty_folder(tmp_path):
    with pytest.raises(DataError, match="the folder is empty"):
        open_data(tmp_path, [IMAGE])


def test_mixed_folder(tmp_path):
    write(tmp_path, {"a.bin": batch(1)})
    np.save(tmp_path / "b.npy", batch(1))
    with pytest.raises(DataError, match=r"several kinds of data: 1 \.bin files, 1 \.npy files"):
        open_data(tmp_path, [IMAGE])


@pytest.mark.parametrize(
    "source, message", [("", "is empty"), ("  ", "is empty"), ("x" * 5000, "no such"), ("a\0b", "no such")]
)
def test_paths_that_are_none(source, message):
    with pytest.raises(DataError, match=message):
        open_data(source, [IMAGE])


def test_nothing_there_names_the_nearest(tmp_path):
    (tmp_path / "calibration").mkdir()
    with pytest.raises(DataError, match="no such file or folder(.|\n)*did you mean 'calibration'"):
        open_data(tmp_path / "calibratoin", [IMAGE])


def test_urls_are_not_read():
    with pytest.raises(DataError, match="gs://bucket/data.npy: no such file or folder(.|\n)*URLs are not read"):
        open_data("gs://bucket/data.npy", [IMAGE])
