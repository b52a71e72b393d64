"""Arrays in memory: how they are cut into batches, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.data.open_data import ImageOptions, InputSpec, open_data
from calibrant.errors import DataError

IMAGE = InputSpec("image", (None, 4, 4, 1), np.float32)
CODE = InputSpec("code:0", (None, 3), np.int32)


def images(many):
    return np.arange(many * 16, dtype=np.float32).reshape(many, 4, 4, 1)


@settings(max_examples=50, deadline=None)
@given(samples=st.integers(1, 70), size=st.integers(1, 20))
def test_batches_hold_every_sample_once_in_order(samples, size):
    data = images(samples)
    batches = open_data(data, [IMAGE], batch_size=size)
    parts = [batch["image"] for batch in batches]
    np.testing.assert_array_equal(np.concatenate(parts), data)
    assert {len(part) for part in parts[:-1]} <= {size}
    assert batches.count == len(parts) and batches.samples == samples


def test_batches_can_be_read_again():
    batches = open_data(images(40), [IMAGE])
    assert [len(batch["image"]) for batch in batches] == [16, 16, 8] == [len(batch["image"]) for batch in batches]


def test_batches_are_contiguous_and_of_the_inputs_type():
    data = np.asfortranarray(images(5).astype(np.float64))
    (batch,) = open_data(data, [IMAGE])
    assert batch["image"].flags.c_contiguous and batch["image"].dtype == np.float32


def test_a_memoryview_is_an_array():
    (batch,) = open_data(memoryview(images(5)), [IMAGE])
    np.testing.assert_array_equal(batch["image"], images(5))


@pytest.mark.parametrize("whole", [True, False])
def test_masked_values_are_no_numbers(whole):
    data = np.ma.masked_array(images(5), images(5) > 40)
    with pytest.raises(DataError, match="values of the array are masked"):
        list(open_data(data if whole else iter([data]), [IMAGE]))
    (batch,) = open_data(data.filled(0), [IMAGE])
    assert batch["image"].max() == 40


def test_batch_num_counts_a_last_smaller_batch():
    batches = open_data(images(20), [IMAGE], batch_num=2)
    assert [len(batch["image"]) for batch in batches] == [16, 4]
    assert (batches.count, batches.batch_num, batches.samples) == (2, 2, 20)


def test_batch_num_stops_early():
    batches = open_data(images(64), [IMAGE], batch_num=2)
    assert sum(len(batch["image"]) for batch in batches) == 32 == batches.samples


def test_too_few_batches_is_said_before_anything_is_read():
    with pytest.raises(DataError, match=r"batch_num is 3, the data are 2 batches \(20 samples, 16 in a batch\)"):
        open_data(images(20), [IMAGE], batch_num=3)


def test_several_inputs_by_name_with_and_without_output_number():
    batches = open_data({"image:0": images(3), "code": np.ones((3, 3), np.int32)}, [IMAGE, CODE], batch_size=2)
    assert [{name: array.shape for name, array in batch.items()} for batch in batches] == [
        {"image": (2, 4, 4, 1), "code:0": (2, 3)},
        {"image": (1, 4, 4, 1), "code:0": (1, 3)},
    ]


def test_scalar_is_fed_with_every_batch():
    keep = InputSpec("keep", (), np.float32)
    batches = open_data({"image": images(3), "keep": 0.5}, [IMAGE, keep], batch_size=2)
    assert [float(batch["keep"]) for batch in batches] == [0.5, 0.5]


def test_wrong_name_names_the_nearest():
    with pytest.raises(DataError, match=r"'imgae'(.|\n)*did you mean 'image'"):
        open_data({"imgae": images(3)}, [IMAGE])


def test_missing_inputs_are_all_listed():
    with pytest.raises(DataError) as caught:
        open_data({}, [IMAGE, CODE])
    assert [problem.path for problem in caught.value.problems] == ["input 'image'", "input 'code:0'"]


def test_inputs_need_the_same_number_of_samples():
    with pytest.raises(DataError) as caught:
        open_data({"image": images(3), "code": np.ones((4, 3), np.int32)}, [IMAGE, CODE])
    assert "3 samples" in str(caught.value) and "4 samples" in str(caught.value)


STEPS = InputSpec("steps", (None, None, 3), np.float32)
STATE = InputSpec("state", (1, None, 2), np.float32)


def test_arrays_of_one_run_where_an_input_has_no_axis_of_samples():
    """As of recurrent networks whose data have time first and whose state has layers first."""
    data = {"steps": np.zeros((9, 4, 3), np.float32), "state": np.zeros((1, 4, 2), np.float32)}
    batches = open_data(data, [STEPS, STATE])
    (batch,) = batches
    assert {name: array.shape for name, array in batch.items()} == {"steps": (9, 4, 3), "state": (1, 4, 2)}
    assert batches.count == 1


def test_a_fixed_batch_of_one_input_cuts_those_of_all():
    data = {"steps": np.zeros((9, 4, 3), np.float32), "state": np.zeros((9, 4, 2), np.float32)}
    assert [(len(batch["steps"]), len(batch["state"])) for batch in open_data(data, [STEPS, STATE])] == [(1, 1)] * 9


@pytest.mark.parametrize(
    ("state", "size", "message"),
    [
        ((2, 4, 2), None, "same number\n.*give batches from Python"),
        ((1, 4, 2), 3, "without a batch size, the arrays are one batch"),
    ],
)
def test_other_numbers_of_samples_are_refused(state, size, message):
    data = {"steps": np.zeros((9, 4, 3), np.float32), "state": np.zeros(state, np.float32)}
    with pytest.raises(DataError, match=message):
        open_data(data, [STEPS, STATE], batch_size=size)


def test_one_array_for_two_inputs():
    with pytest.raises(DataError, match="one array for 2 inputs"):
        open_data(images(3), [IMAGE, CODE])


class TestFixedBatch:
    FIXED = InputSpec("image", (4, 4, 4, 1), np.float32)

    def test_is_used_without_being_asked_for(self):
        assert [len(batch["image"]) for batch in open_data(images(8), [self.FIXED])] == [4, 4]

    def test_leaves_out_what_makes_no_whole_batch_and_says_so(self):
        batches = open_data(images(10), [self.FIXED])
        assert (batches.count, batches.samples) == (2, 8)
        assert [len(batch["image"]) for batch in batches] == [4, 4]
        assert "last 2 make no whole batch" in batches.describe()

    def test_too_few_for_one(self):
        with pytest.raises(DataError, match="3 samples make no whole batch of 4"):
            open_data(images(3), [self.FIXED])

    def test_another_one_chosen(self):
        with pytest.raises(DataError, match="batch_size is 16, the model's is fixed at 4"):
            open_data(images(64), [self.FIXED], batch_size=16)

    def test_the_same_one_chosen(self):
        assert open_data(images(8), [self.FIXED], batch_size=4).count == 2


class TestValues:
    @pytest.mark.parametrize("value, name", [(np.nan, "NaN"), (np.inf, "Inf"), (-np.inf, "Inf")])
    def test_not_finite_names_input_sample_and_place(self, value, name):
        data = images(40)
        data[33, 1, 2, 0] = value
        with pytest.raises(DataError, match=rf"'image'.*{name} at sample 33, index \[1, 2, 0\]; 1 such"):
            list(open_data(data, [IMAGE]))

    def test_batches_before_the_bad_one_are_read(self):
        data = images(40)
        data[33] = np.nan
        read = iter(open_data(data, [IMAGE]))
        assert len(next(read)["image"]) == 16 and len(next(read)["image"]) == 16
        with pytest.raises(DataError):
            next(read)

    def test_double_too_large_for_float(self):
        data = images(2).astype(np.float64)
        data[1, 0, 0, 0] = 1e300
        with pytest.raises(DataError, match="too large for float32 at sample 1"):
            list(open_data(data, [IMAGE]))

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.bool_, np.float16, np.float64, np.int64, ">f4"])
    def test_types_that_become_float32(self, dtype):
        data = (images(2) % 2).astype(dtype)
        (batch,) = open_data(data, [IMAGE])
        np.testing.assert_array_equal(batch["image"], images(2) % 2)
        assert batch["image"].dtype == np.dtype("=f4")

    def test_bfloat16_becomes_float32(self):
        from ml_dtypes import bfloat16

        data = images(2).astype(bfloat16)
        (batch,) = open_data(data, [IMAGE])
        assert batch["image"].dtype == np.float32
        assert np.array_equal(batch["image"], data.astype(np.float32))
        with pytest.raises(DataError, match="if it was bfloat16"):
            open_data(data.view("V2"), [IMAGE])

    def test_whole_numbers_of_a_mask(self):
        mask = InputSpec("mask", (None, 3), np.bool_)
        (batch,) = open_data(np.array([[0, 1, 1]]), [mask])
        assert batch["mask"].dtype == np.bool_ and batch["mask"].tolist() == [[False, True, True]]
        with pytest.raises(DataError, match="int64 and hold values that bool cannot"):
            list(open_data(np.array([[0, 2, 1]]), [mask]))
        with pytest.raises(DataError, match="float64, the input wants bool"):
            list(open_data(np.array([[0.0, 1.0, 1.0]]), [mask]))

    def test_integers_that_float32_cannot_hold(self):
        with pytest.raises(DataError, match="values that float32 cannot"):
            list(open_data(np.full((1, 4, 4, 1), 2**24 + 1), [IMAGE]))

    def test_long_integers_for_a_shorter_type_where_they_fit(self):
        (batch,) = open_data(np.array([[1, 2, 2**31 - 1]]), [CODE])
        assert batch["code:0"].tolist() == [[1, 2, 2**31 - 1]] and batch["code:0"].dtype == np.int32
        with pytest.raises(DataError, match="int64 and hold values that int32 cannot"):
            list(open_data(np.array([[1, 2, 2**31]]), [CODE]))

    @pytest.mark.parametrize(
        "data", [np.ones((2, 3), np.float32), np.ones((2, 3), np.complex64), np.array([["a"] * 3])]
    )
    def test_types_that_never_become_integers(self, data):
        with pytest.raises(DataError, match="input 'code:0'.*the input wants int32"):
            open_data(data, [CODE])

    def test_python_objects_are_no_strings(self):
        numbers = np.ones((4, 3), np.float32).astype(object)
        message = r"the data are Python objects, the input wants float32(.|\n)*array\.astype\('float32'\)"
        with pytest.raises(DataError, match=message):
            open_data(numbers, [InputSpec("x", (None, 3), np.float32)])

    def test_strings(self):
        text = InputSpec("text", (None,), object)
        (batch,) = open_data(np.array(["one", "two"]), [text])
        assert batch["text"].tolist() == ["one", "two"] and batch["text"].dtype == object


class TestScale:
    def test_applies_to_arrays(self):
        data = np.full((2, 4, 4, 1), 255, np.uint8)
        (batch,) = open_data(data, [IMAGE], image_options=ImageOptions(scale=1 / 255, mean=0.5, std=0.25))
        np.testing.assert_allclose(batch["image"], 2.0, rtol=1e-6)

    def test_makes_no_integers(self):
        batches = open_data(np.ones((2, 3), np.int32), [CODE], image_options=ImageOptions(scale=2.0))
        assert next(iter(batches))["code:0"].max() == 1, "integer inputs are left as they are"

    def test_options_for_files_are_refused(self):
        with pytest.raises(DataError, match="image option colour: 'BGR' is for image files"):
            open_data(images(2), [IMAGE], image_options=ImageOptions(colour="BGR"))


@pytest.mark.parametrize("argument", ["batch_size", "batch_num"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "4"])
def test_numbers_out_of_range(argument, value):
    with pytest.raises(DataError, match=argument):
        open_data(images(2), [IMAGE], **{argument: value})


def test_empty_array():
    with pytest.raises(DataError, match="holds no values"):
        open_data(images(0), [IMAGE])


def test_description_is_one_line():
    assert open_data(images(40), [IMAGE]).describe() == "the array for 'image': 3 batches (40 samples), 16 in a batch"
