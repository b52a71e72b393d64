"""Data with one axis more than the inputs of a model without a batch."""

import numpy as np
import pytest

from calibrant.data.amount import DataUse
from calibrant.data.input_spec import inputs_of
from calibrant.data.one_run_a_row import first_axis_sentence, one_sample_sentence
from calibrant.data.open_data import InputSpec, TFRecords, open_data
from calibrant.errors import DataError
from calibrant.graph.reading.load import load
from graphs import dense, graph_def, numbers, placeholder, tf

OPEN = InputSpec("x", (None,), np.float32)
FIXED = InputSpec("x", (6,), np.float32)
IMAGE = InputSpec("x", (6, 1), np.float32)
RATE = InputSpec("rate", (), np.float32)


def runs_of(source, *inputs, **options):
    batches = open_data(source, inputs, **options)
    return batches, [batch["x"] for batch in batches]


@pytest.mark.parametrize(("spec", "shape"), [(OPEN, (5, 6)), (FIXED, (5, 6)), (IMAGE, (5, 6, 1))])
@pytest.mark.parametrize("form", ["array", "npy", "npz", "npz with a key", "npz by columns", "list", "generator"])
def test_each_row_is_one_run_and_one_sample(tmp_path, spec, shape, form):
    data, file = numbers(*shape), tmp_path / "data.npz"
    np.save(tmp_path / "data.npy", data)
    np.savez(file, clips=np.asfortranarray(data) if form == "npz by columns" else data, labels=numbers(5, 2, 2))
    source = {
        "array": data,
        "npy": str(tmp_path / "data.npy"),
        "npz": str(file),
        "npz with a key": f"{file}:clips",
        "npz by columns": str(file),
        "list": [data[:2], data[2:]],
        "generator": (part for part in (data[:2], data[2:])),
    }[form]
    batches, runs = runs_of(source, spec)
    assert np.array_equal(runs, data) and batches.one_a_run
    assert batches.usage() == (5, 5)


def test_numbers_of_batches_and_samples_count_rows():
    for options in ({"batch_num": 3}, {"sample_limit": 3}):
        batches, runs = runs_of(numbers(5, 6), OPEN, **options)
        assert (len(runs), batches.count, batches.samples, batches.available) == (3, 3, 3, 5)
    assert "3 samples calibrate" in DataUse.of(batches).warnings[0]


def test_copies_are_counted_by_row():
    batches, _ = runs_of(np.repeat(numbers(1, 6), 8, axis=0), OPEN)
    assert batches.repeated == "the first 8 calibration samples are all the same"


def test_a_list_of_recordings_of_several_lengths():
    recordings = [numbers(size) for size in (7, 5, 6, 7)]
    batches, runs = runs_of(recordings, OPEN, sample_limit=3)
    assert [len(run) for run in runs] == [7, 5, 6] and batches.used == (3, 3)


def test_a_list_of_recordings_of_a_fixed_length():
    batches, runs = runs_of(list(numbers(5, 6)), FIXED, sample_limit=3)
    assert len(runs) == 3 and batches.used == (3, 3)


def test_what_was_batches_of_numbers_still_is():
    batches, runs = runs_of(numbers(40), OPEN)
    assert [len(run) for run in runs] == [16, 16, 8] and batches.used == (3, 40)
    batches, runs = runs_of([numbers(6), numbers(6), numbers(4)], OPEN)
    assert batches.used == (3, 16) and not batches.one_a_run
    batches, runs = runs_of(numbers(18), FIXED)
    assert batches.used == (3, 18)
    batches, runs = runs_of(numbers(8, 1), OPEN, batch_size=4)
    assert [run.shape for run in runs] == [(4,), (4,)]


@pytest.mark.parametrize("rate", [np.float32(3), numbers(5)])
def test_scalars_are_fed_with_every_run_or_row_by_row(rate):
    batches = open_data({"x": numbers(5, 6), "rate": rate}, [OPEN, RATE])
    fed = list(batches)
    assert [batch["rate"].shape for batch in fed] == [()] * 5 and batches.samples == 5
    assert np.array_equal([batch["rate"] for batch in fed], np.broadcast_to(rate, 5))


def test_inputs_need_the_same_number_of_rows():
    with pytest.raises(DataError, match=r"\[5, 6\], the input wants \[\?\]"):
        open_data({"x": numbers(5, 6), "rate": numbers(4)}, [OPEN, RATE])
    with pytest.raises(DataError, match="item 0 of the list has 4 and 5 rows"):
        list(open_data([(numbers(5, 6), numbers(4))], [OPEN, RATE]))


def test_a_batch_size_says_something_else():
    with pytest.raises(DataError, match="batch_size is 4, but each row of the data is one run"):
        open_data(numbers(5, 6), [OPEN], batch_size=4)
    assert open_data(numbers(5, 6), [FIXED], batch_size=6).count == 5  # what the model fixes


def test_labels_of_rows():
    data = numbers(4, 6)
    batches = open_data([(data[:3], np.array([5, 6, 7])), (data[3:], np.array([8]))], [OPEN], with_labels=True)
    assert [batches.take_labels() for _ in batches] == [[5], [6], [7], [8]]
    batches = open_data([(data[:3], {"y": [5, 6, 7]})], [OPEN], with_labels=True)
    assert [batches.take_labels() for _ in batches] == [[{"y": 5}], [{"y": 6}], [{"y": 7}]]
    with pytest.raises(DataError, match=r"item 0 of the list has 3 rows and y of shape \[2\]"):
        list(open_data([(data[:3], np.zeros(2))], [OPEN], with_labels=True))
    with pytest.raises(DataError, match="an array and its labels"):
        open_data((data, np.zeros(4)), [FIXED])


def test_a_value_is_named_by_its_row():
    data = numbers(5, 6)
    data[3, 2] = np.nan
    with pytest.raises(DataError, match=r"row 3: NaN at index \[2\]"):
        list(open_data(data, [OPEN]))
    with pytest.raises(DataError, match=r"row 1 of item 1 of the list: NaN at index \[2\]"):
        list(open_data([data[:2], data[2:]], [OPEN]))


def test_what_the_first_axis_is_taken_for():
    assert "'x' [?] is taken for samples" in first_axis_sentence([RATE, OPEN])
    assert first_axis_sentence([FIXED]).endswith("give one run a row: [N, 6]")
    others = [RATE, IMAGE, InputSpec("ids", (None,), np.int32), InputSpec("one", (1,), np.float32)]
    assert first_axis_sentence(others) is None


@pytest.mark.parametrize("form", [lambda data: data, lambda data: [data]])
def test_an_open_first_axis_of_several_is_of_samples(form):
    with pytest.raises(DataError, match=r"\[\?, 4, 4\]"):
        list(open_data(form(numbers(5, 2, 4, 4)), [InputSpec("x", (None, 4, 4), np.float32)]))


@pytest.mark.parametrize("spec", [OPEN, FIXED])
@pytest.mark.parametrize("labels", [np.arange(5), np.arange(5, dtype=np.float32)])
def test_recordings_are_not_confused_with_their_labels(tmp_path, spec, labels):
    np.savez(tmp_path / "data.npz", clips=numbers(5, 6), labels=labels)
    with pytest.raises(DataError, match="several arrays fit: labels, clips"):
        open_data(str(tmp_path / "data.npz"), [spec])
    assert open_data(f"{tmp_path / 'data.npz'}:clips", [spec]).usage() == (5, 5)
    with pytest.raises(DataError, match=r"the tuple holds an array and its labels"):
        open_data((numbers(5, 6), labels), [spec])


def test_an_axis_that_an_output_has_too_is_of_samples():
    spec = InputSpec("x", (6,), np.float32, has_samples=True)
    batches = open_data([numbers(6), numbers(6)], [spec])
    list(batches)
    assert batches.used == (2, 12)
    with pytest.raises(DataError, match=r"the data have shape \[5, 6\]"):
        open_data(numbers(5, 6), [spec])
    model = graph_def(lambda: tf.identity(dense(placeholder([6, 4])), name="y"))
    assert [each.has_samples for each in inputs_of(load(model))] == [True]
    one = graph_def(lambda: tf.identity(dense(tf.reshape(placeholder([6, 4]), [1, 24])), name="y"))
    assert [each.has_samples for each in inputs_of(load(one))] == [False]


def graph_network():
    x, source = placeholder([30, 8]), placeholder([80], "src", tf.int32)
    tf.identity(dense(tf.math.unsorted_segment_sum(tf.gather(x, source), source, 30)), name="out")


def test_first_sizes_that_differ_are_not_of_samples():
    inputs = inputs_of(load(graph_def(graph_network)))
    assert [spec.has_samples for spec in inputs] == [False, False]
    x, source = numbers(4, 30, 8), np.zeros((4, 80), np.int32)
    batches = open_data({"x": x, "src": source}, inputs)
    assert [batch["x"].shape for batch in batches] == [(30, 8)] * 4 and batches.one_a_run
    assert open_data({"x": x[0], "src": source[0]}, inputs).count == 1
    with pytest.raises(DataError, match=r"if each of the 4 rows is one run, give as many to 'src' \[4, 80\]"):
        open_data({"x": x, "src": source[0]}, inputs)


def test_rows_of_an_axis_of_samples_can_be_joined():
    spec = InputSpec("x", (6, 2), np.float32, has_samples=True)
    with pytest.raises(DataError, match=r"array.reshape\(-1, 2\)"):
        open_data(numbers(5, 6, 2), [spec])
    assert open_data(numbers(5, 6, 2).reshape(-1, 2), [spec]).count == 5


PICTURE = InputSpec("x", (None, None, 3), np.float32, is_one_sample=True)
FIXED_PICTURE = InputSpec("x", (6, 5, 3), np.float32, is_one_sample=True)


@pytest.mark.parametrize("spec", [PICTURE, FIXED_PICTURE])
@pytest.mark.parametrize("form", ["array", "npy", "npz", "list", "generator", "rows", "bin"])
def test_what_is_one_sample_is_never_cut(tmp_path, spec, form):
    data, options = numbers(4, 6, 5, 3), {}
    np.save(tmp_path / "data.npy", data)
    np.savez(tmp_path / "data.npz", pictures=data, labels=np.eye(4, 3))
    if form == "bin":
        (tmp_path / "bin").mkdir()
        options["shapes"] = {"x": (6, 5, 3)}
        for at, picture in enumerate(data):
            picture.tofile(tmp_path / "bin" / f"{at}.bin")
    source = {
        "array": data,
        "npy": str(tmp_path / "data.npy"),
        "npz": str(tmp_path / "data.npz"),
        "list": list(data),
        "generator": iter(data),
        "rows": [data[:1], data[1:]],
        "bin": str(tmp_path / "bin"),
    }[form]
    batches, runs = runs_of(source, spec, sample_limit=3, **options)
    assert np.array_equal(runs, data[:3]) and batches.one_a_run
    assert batches.used == (3, 3)


@pytest.mark.parametrize("form", ["array", "npy", "npz"])
def test_an_array_of_its_shape_is_one_sample(tmp_path, form):
    data = numbers(40, 5, 3)
    np.save(tmp_path / "data.npy", data)
    np.savez(tmp_path / "data.npz", data)
    batches, runs = runs_of(data if form == "array" else str(tmp_path / f"data.{form}"), PICTURE)
    assert [run.shape for run in runs] == [(40, 5, 3)] and (batches.samples, batches.available) == (1, 1)
    assert "1 sample calibrates" in DataUse.of(batches).warnings[0]


def test_data_of_one_sample_have_its_axes():
    for source in (numbers(5, 3), [numbers(5, 3)], numbers(4, 6, 5, 4)):
        with pytest.raises(DataError, match=r"the input wants \[\?, \?, 3\]"):
            list(open_data(source, [PICTURE]))


def test_records_of_one_sample(tmp_path):
    data = numbers(3, 6, 5, 3)
    with tf.io.TFRecordWriter(str(tmp_path / "x.tfrecord")) as file:
        for picture in data:
            file.write(picture.tobytes())
    records = TFRecords(tmp_path / "x.tfrecord", lambda raw: tf.reshape(tf.io.decode_raw(raw, tf.float32), [6, 5, 3]))
    batches, runs = runs_of(records, PICTURE)
    assert np.array_equal(runs, data) and batches.used == (3, 3)


def test_how_several_of_one_sample_are_given():
    assert "several are given as [N, ?, ?, 3]" in one_sample_sentence([RATE, PICTURE])
    assert one_sample_sentence([OPEN, IMAGE]) is None


def test_what_the_first_batch_has_is_kept():
    def fed(data, *inputs, **options):
        batches = open_data(data, inputs, **options)
        assert batches.fed is None
        list(batches)
        return batches.fed

    picture = InputSpec("x", (None, None, 3), np.float32)
    assert fed(numbers(40, 5, 3), picture) == {"x": (1, 5, 3)}
    assert fed(numbers(4, 9), OPEN) == {"x": (9,)}
    steps, lengths = InputSpec("x", (None, None, 3), np.float32), InputSpec("n", (None,), np.float32)
    batch = {"x": numbers(7, 2, 3), "n": numbers(2)}
    assert fed([batch], steps, lengths) is None
