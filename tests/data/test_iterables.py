"""Python iterables, tf.data.Datasets and TFRecords."""

from __future__ import annotations

import glob
import gzip
import pathlib
import re
import zlib

import numpy as np
import pytest

from calibrant.data.open_data import ImageOptions, InputSpec, TFRecords, open_data
from calibrant.errors import DataError

X = InputSpec("x", (None, 4), np.float32)
Y = InputSpec("y:0", (None,), np.int32)


def x(value, many=2):
    return np.full((many, 4), value, np.float32)


def y(many=2):
    return np.ones(many, np.int64)


@pytest.mark.parametrize("items", [[x(1), x(2)], [(x(1),), [x(2)]], [{"x": x(1)}, {"x:0": x(2), "label": 3}]])
def test_items_of_every_kind_are_batches(items):
    batches = open_data(items, [X])
    assert [batch["x"].max() for batch in batches] == [1, 2] == [batch["x"].max() for batch in batches]
    assert batches.count == 2 and batches.restartable


def test_nested_lists_of_numbers():
    (batch,) = open_data([[[1, 2, 3, 4], [5, 6, 7, 8]]], [X])
    assert batch["x"].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_several_inputs_in_their_order_or_by_name():
    batches = open_data([(x(1), y()), {"y": y(), "x": x(2)}], [X, Y])
    assert [(batch["x"].max(), batch["y:0"].dtype) for batch in batches] == [(1, np.int32), (2, np.int32)]


def test_one_sample_without_batch():
    (batch,) = open_data([np.arange(4.0)], [X])
    assert batch["x"].shape == (1, 4)


def test_generator_is_read_once_and_no_further_than_asked_for():
    read = []

    def items():
        for value in range(10):
            read.append(value)
            yield x(value)

    batches = open_data(items(), [X], batch_num=3)
    assert [batch["x"].max() for batch in batches] == [0, 1, 2] and read == [0, 1, 2]
    assert not batches.restartable
    with pytest.raises(DataError, match="can be read only once(.|\n)*a function that returns a new generator"):
        list(batches)


class OneGenerator:
    def __init__(self):
        self.items = (x(value) for value in range(3))

    def __iter__(self):
        return self.items


def one_generator():
    items = (x(value) for value in range(3))
    return lambda: items


@pytest.mark.parametrize("make", [one_generator, OneGenerator])
def test_a_generator_that_is_handed_out_again_is_an_error(make):
    """Its first items are gone by then."""
    with pytest.raises(DataError, match="the same generator each time(.|\n)*a new generator in each call"):
        list(open_data(make(), [X]))


def test_a_dataset_that_fails_names_the_item():
    import tensorflow as tf

    def checked(value):
        with tf.control_dependencies([tf.debugging.assert_less(value, np.int64(2), message="too large")]):
            return tf.fill([2, 4], tf.cast(value, tf.float32))

    dataset = tf.data.Dataset.range(4).map(checked)
    with pytest.raises(DataError, match="item 2 of (.|\n)*cannot be read: .*too large"):
        list(open_data(lambda: dataset, [X]))
    with pytest.raises(DataError, match="item 0 of the _?SkipDataset cannot be read: .*too large"):
        open_data(dataset.skip(3), [X])


@pytest.mark.parametrize("given", [lambda dataset: dataset, lambda dataset: lambda: dataset, iter])
def test_the_error_of_a_dataset_names_no_internal_node(given):
    import tensorflow as tf

    def failing():
        raise ValueError("the first is bad")
        yield

    dataset = tf.data.Dataset.from_generator(failing, output_signature=tf.TensorSpec([2, 4], tf.float32))
    with pytest.raises(DataError, match="^item 0 of [^{]* cannot be read: ValueError: the first is bad$"):
        open_data(given(dataset), [X])


def test_a_loader_that_gives_no_length():
    class Loader:
        def __len__(self):
            return -1

        def __iter__(self):
            return iter([x(1), x(2)])

    batches = open_data(Loader(), [X])
    assert batches.count is None and len(list(batches)) == 2


def test_an_array_that_is_filled_again_and_again_gives_a_batch_each_time():
    def items():
        one = x(0)
        for value in (1, 2, 3):
            one[:] = value
            yield one

    assert [batch["x"].max() for batch in list(open_data(items, [X]))] == [1, 2, 3]


def test_function_is_called_for_every_pass():
    batches = open_data(lambda: (x(value) for value in range(3)), [X])
    assert len(list(batches)) == 3 == len(list(batches)) and batches.restartable and batches.count is None


def test_generator_that_ends_too_early():
    with pytest.raises(DataError, match="batch_num is 5, the data are 3 batches"):
        list(open_data((x(value) for value in range(3)), [X], batch_num=5))


def test_list_that_is_too_short_is_seen_at_once():
    with pytest.raises(DataError, match="batch_num is 5, the data are 1 batches"):
        open_data([x(1)], [X], batch_num=5)


@pytest.mark.parametrize("nothing", [[], (part for part in ())])
def test_nothing(nothing):
    with pytest.raises(DataError, match="no batches"):
        list(open_data(nothing, [X]))


def test_labels_beside_several_inputs():
    meta = InputSpec("meta", (None, 4), np.float32)
    with pytest.raises(DataError, match=r"has 3 arrays, the model has 2 inputs(.|\n)*\(\(x, meta\), y\)"):
        list(open_data([(x(2), x(2), y())], [X, meta]))
    (batch,) = open_data([((x(2), x(2)), y())], [X, meta])
    assert sorted(batch) == ["meta", "x"]


@pytest.mark.parametrize(
    "item, message",
    [
        ([x(1), y()], "has 2 arrays, the model has 1 inputs"),
        ({"z": x(1)}, "has no 'x', only z"),
        (np.ones((2, 5), np.float32), r"shape \[2, 5\], the input wants \[\?, 4\]"),
        ([["a", "b", "c", "d"]], "the data are strings, the input wants float32"),
        ([[1, 2], [3]], "item 0 of the list"),
        (object(), "is of type object, no array of numbers"),
        (None, "is of type NoneType, no array of numbers"),
        (np.full((2, 4), np.nan), r"item 0 of the list: NaN at sample 0 of it, index \[0\]"),
        (np.array([[0.0] * 4, [0, 0, np.inf, 0]]), r"item 0 of the list: Inf at sample 1 of it, index \[2\]"),
    ],
)
def test_bad_items_are_named(item, message):
    with pytest.raises(DataError, match=message):
        list(open_data([item], [X]))


def test_one_array_for_two_inputs():
    with pytest.raises(DataError, match="is one array, the model has 2 inputs"):
        list(open_data([x(1)], [X, Y]))


@pytest.mark.parametrize("source, kind", [(3, "int"), (dict, "type")])
def test_no_source_at_all(source, kind):
    with pytest.raises(DataError, match=f"the {kind} cannot be iterated(.|\n)*allowed: a path"):
        open_data(source, [X])


@pytest.mark.parametrize("source", [b"m/x.npy", bytearray(b"m/x.npy")])
def test_a_path_of_bytes_is_no_list_of_numbers(source):
    with pytest.raises(DataError, match=r"the data are .*m/x\.npy.*\n.*hint: give str or Path"):
        open_data(source, [X])


@pytest.mark.parametrize("returned, hint", [(None, "lack a return"), (3, "")])
def test_function_that_returns_nothing_to_iterate(returned, hint):
    def items():
        return returned

    message = rf"what items\(\) returns cannot be iterated: {returned}(.|\n)*allowed: an iterable(.|\n)*{hint}"
    with pytest.raises(DataError, match=message):
        list(open_data(items, [X]))


def test_errors_of_the_users_own_code_pass_through():
    def items():
        raise KeyError("mine")
        yield

    with pytest.raises(KeyError, match="mine"):
        list(open_data(items, [X]))


def test_scale_applies_to_items():
    (batch,) = open_data([np.full((2, 4), 255, np.uint8)], [X], image_options=ImageOptions(scale=1 / 255))
    np.testing.assert_allclose(batch["x"], 1.0)


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


@pytest.mark.parametrize("items", [[x(1, 0)] * 2, lambda: iter([x(1, 0)] * 2), [{"x": x(1, 0)}] * 2])
def test_batches_without_samples(items):
    with pytest.raises(DataError, match="batch 0 holds no samples"):
        list(open_data(items, [X]))


def test_a_batch_without_samples_among_others():
    """It would count as one of ``batch_num``, and many operations do not take it."""
    with pytest.raises(DataError, match="batch 1 holds no samples"):
        list(open_data([x(1), x(1, 0), x(1)], [X]))


class TestTensorFlow:
    def test_dataset_of_dicts(self, tf):
        dataset = tf.data.Dataset.from_tensor_slices({"x": np.repeat(np.arange(6.0), 4).reshape(6, 4)}).batch(4)
        batches = open_data(dataset, [X])
        assert batches.count == 2
        for _ in range(2):
            assert [batch["x"][:, 0].tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5]]

    def test_dataset_of_tuples_and_tensors(self, tf):
        dataset = tf.data.Dataset.from_tensors((x(1), y()))
        assert next(iter(open_data(dataset, [X, Y])))["x"].shape == (2, 4)
        assert next(iter(open_data(dataset.map(lambda first, _: first), [X])))["x"].shape == (2, 4)

    def test_endless_dataset_needs_batch_num(self, tf):
        dataset = tf.data.Dataset.from_tensors(x(1)).repeat()
        with pytest.raises(DataError, match="has no end"):
            open_data(dataset, [X])
        assert len(list(open_data(dataset, [X], batch_num=7))) == 7

    def test_dataset_that_is_too_short(self, tf):
        with pytest.raises(DataError, match="batch_num is 2, the data are 1 batches"):
            open_data(tf.data.Dataset.from_tensors(x(1)), [X], batch_num=2)

    @pytest.mark.parametrize(
        "make",
        [
            lambda tf, data: tf.data.Dataset.from_tensor_slices(data).batch(2),
            lambda tf, data: tf.data.Dataset.from_tensor_slices({"x": data}).batch(2),
            lambda tf, data: tf.data.Dataset.from_tensor_slices((data, data[:, 0])).batch(2),
            lambda tf, data: tf.data.Dataset.from_tensor_slices(data).repeat().batch(2).take(3),
            lambda tf, data: tf.data.Dataset.from_generator(
                lambda: iter(data), output_signature=tf.TensorSpec([4], tf.float32)
            ).batch(2),
            lambda tf, data: lambda: tf.data.Dataset.from_tensor_slices(data).batch(2),
        ],
        ids=["arrays", "dict", "pairs", "repeated", "generator", "function"],
    )
    def test_without_eager_execution(self, tf, make):
        """A dataset is then an operation of a graph, to which nothing is added."""
        with tf.Graph().as_default() as graph:
            dataset = make(tf, x(1, 6))
            given = len(graph.get_operations())
            batches = open_data(dataset, [X])
            assert [len(batch["x"]) for batch in batches] == [2, 2, 2]
            assert callable(dataset) or len(graph.get_operations()) == given
            np.testing.assert_array_equal(next(iter(batches))["x"], x(1))

    def test_without_end_and_eager_execution(self, tf):
        with tf.Graph().as_default():
            dataset = tf.data.Dataset.from_tensors(x(2)).repeat()
            with pytest.raises(DataError, match="has no end"):
                open_data(dataset, [X])
            assert len(list(open_data(dataset, [X], batch_num=3))) == 3

    def test_a_tensor_of_a_graph_is_no_array(self, tf):
        with tf.Graph().as_default(), pytest.raises(DataError, match="no array: Cannot convert a symbolic"):
            open_data(tf.ones((20, 4)), [X])

    def test_what_fails_without_eager_execution_is_one_error(self, tf):
        with tf.Graph().as_default():
            dataset = tf.data.Dataset.from_tensors(x(2)).map(
                lambda values: tf.debugging.check_numerics(values / 0, "bad")
            )
            with pytest.raises(DataError, match="MapDataset cannot be read: (.|\n)*bad"):
                list(open_data(dataset, [X]))

    def test_a_dataset_that_executes_eagerly_in_a_graph(self, tf):
        dataset = tf.data.Dataset.from_tensors(x(2)).repeat(3)
        with tf.Graph().as_default() as graph:
            batches = open_data(dataset, [X])
            assert (batches.count, len(list(batches))) == (3, 3)
            assert not graph.get_operations()

    def test_tensor_is_an_array_of_samples(self, tf):
        assert [len(batch["x"]) for batch in open_data(tf.ones((20, 4)), [X])] == [16, 4]

    @pytest.fixture
    def records(self, tf, tmp_path):
        path = tmp_path / "a.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for value in range(5):
                feature = tf.train.Feature(float_list=tf.train.FloatList(value=[value] * 4))
                writer.write(tf.train.Example(features=tf.train.Features(feature={"x": feature})).SerializeToString())
        return path

    @staticmethod
    def parse(record):
        import tensorflow as tf

        return tf.io.parse_single_example(record, {"x": tf.io.FixedLenFeature([4], tf.float32)})

    def test_records(self, records):
        batches = open_data(TFRecords(records, self.parse), [X], batch_size=2)
        for _ in range(2):
            assert [batch["x"][:, 0].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]

    def test_records_without_eager_execution(self, tf, records):
        with tf.Graph().as_default():
            batches = open_data(TFRecords(records, self.parse), [X], batch_size=2)
            assert [batch["x"][:, 0].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]

    def test_labels_of_records(self, records):
        def parse(record):
            sample = self.parse(record)["x"]
            return sample, sample[0]

        batches = open_data(TFRecords(records, parse), [X], batch_size=2, with_labels=True)
        for _ in range(2):
            assert [(batch["x"][:, 0].tolist(), batches.take_labels()[0].numpy().tolist()) for batch in batches] == [
                ([0, 1], [0, 1]),
                ([2, 3], [2, 3]),
                ([4], [4]),
            ]
        assert len(list(open_data(TFRecords(records, parse), [X]))) == 1

    @pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
    def test_files_without_bytes_hold_no_records(self, records, compression, tmp_path):
        empty = tmp_path / "empty.tfrecord"
        empty.touch()
        with pytest.raises(DataError, match=r"empty\.tfrecord: there are no batches$"):
            list(open_data(TFRecords(empty, self.parse, compression), [X]))
        pack = {"": bytes, "GZIP": gzip.compress, "ZLIB": zlib.compress}[compression]
        records.write_bytes(pack(records.read_bytes()))
        assert (
            sum(len(batch["x"]) for batch in open_data(TFRecords([empty, records], self.parse, compression), [X])) == 5
        )

    def test_records_for_a_fixed_batch(self, records):
        fixed = InputSpec("x", (2, 4), np.float32)
        batches = open_data(TFRecords([str(records)], self.parse), [fixed])
        assert [len(batch["x"]) for batch in batches] == [2, 2]

    def test_damaged_records(self, records):
        content = bytearray(records.read_bytes())
        content[-20] ^= 1
        records.write_bytes(bytes(content))
        with pytest.raises(DataError, match=r"a\.tfrecord: the records cannot be read: corrupted record at \d+$"):
            list(open_data(TFRecords(records, self.parse), [X]))

    @pytest.mark.parametrize("length", [45, 2**35, 2**62, 2**64 - 1])
    def test_forged_lengths(self, records, length):
        """Where the checksum of the length is right as well, TensorFlow ends the process from 32 GiB on."""
        content = records.read_bytes()
        forged = length.to_bytes(8, "little")
        records.write_bytes(content[: -(len(content) // 5)] + forged + bytes(4) + b"abcd")
        with pytest.raises(DataError, match=rf"says that it has {length:,} bytes; 0 are left"):
            list(open_data(TFRecords(records, self.parse), [X]))

    @pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
    def test_truncated_records(self, records, compression):
        """Wherever the file is cut, but between two records: TensorFlow takes a part of a length for the end."""
        pack = {"": bytes, "GZIP": gzip.compress, "ZLIB": zlib.compress}[compression]
        content = records.read_bytes()
        begin = len(content) // 5 * 3
        length = len(content) // 5 - 16
        found = {1: "cut off after 1 of", 11: "cut off after 11 of", 12: f"{length:,} bytes; 0 are left"}
        found |= {17: f"{length:,} bytes; 1 are left", 15 + length: f"{length:,} bytes; {length - 1:,} are left"}
        for number, message in found.items():
            records.write_bytes(pack(content[: begin + number]))
            with pytest.raises(
                DataError, match=rf"a\.tfrecord: the records cannot be read: .*byte {begin} .*{message}"
            ):
                list(open_data(TFRecords(records, self.parse, compression), [X]))
        records.write_bytes(pack(content[:begin]))
        assert sum(len(batch["x"]) for batch in open_data(TFRecords(records, self.parse, compression), [X])) == 3

    @pytest.mark.parametrize("compression", ["GZIP", "ZLIB"])
    def test_compressed_records(self, tf, records, compression):
        pack = {"GZIP": gzip.compress, "ZLIB": zlib.compress}[compression]
        content = records.read_bytes()
        records.write_bytes(pack(content))
        batches = open_data(TFRecords(records, self.parse, compression), [X], batch_size=2)
        assert [batch["x"][:, 0].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
        for named in {"", None, "GZIP", "ZLIB"} - {compression}:
            with pytest.raises(DataError, match=f"cannot be read: (.|\\n)*hint: compression='{compression}'"):
                list(open_data(TFRecords(records, self.parse, named), [X]))
        for length in (45, 2**33, 2**62, 2**64 - 1):
            forged = content[: -(len(content) // 5)] + length.to_bytes(8, "little") + bytes(4) + b"abcd"
            records.write_bytes(pack(forged))
            with pytest.raises(DataError, match=f"says that it has {length:,} bytes"):
                list(open_data(TFRecords(records, self.parse, compression), [X]))
        records.write_bytes(pack(content)[:-12])
        with pytest.raises(DataError, match=r"a\.tfrecord: the file cannot be read: "):
            list(open_data(TFRecords(records, self.parse, compression), [X]))

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (("a", str, "gzip"), "compression is 'gzip'(.|\n)*did you mean 'GZIP'"),
            (("a", str, "LZ4"), "compression is 'LZ4'(.|\n)*allowed: 'GZIP', 'ZLIB', ''"),
            (("a", str, 3), "compression is 3"),
            ((3, str), "paths is 3(.|\n)*allowed: a path or a list of paths"),
            ((["a", 3], str), "paths is "),
            (("a", 3), "parse is 3"),
        ],
    )
    def test_wrong_arguments_of_records(self, given, message):
        with pytest.raises(DataError, match=message):
            TFRecords(*given)

    def test_missing_records(self, tmp_path):
        with pytest.raises(DataError, match=r"none\.tfrecord: no such file"):
            open_data(TFRecords(tmp_path / "none.tfrecord", self.parse), [X])

    def test_paths_of_records_that_are_no_files(self, records, tmp_path):
        for path, message in {
            tmp_path: r": is a folder\n    allowed: files\n    hint: name its files: (.*)$",
            tmp_path
            / "*.tfrecord": r"\*\.tfrecord: no such file\n    hint: patterns are not expanded here: give (.*)$",
        }.items():
            with pytest.raises(DataError, match=message) as caught:
                open_data(TFRecords(path, self.parse), [X])
            files = re.search(message, str(caught.value))[1]
            given = eval(files, {"glob": glob, "pathlib": pathlib})  # what the hint says
            assert len(list(open_data(TFRecords(given, self.parse), [X], batch_size=2))) == 3
        with pytest.raises(DataError, match=r"b\.tfrecord: no such file.*\n    hint: did you mean 'a\.tfrecord'"):
            open_data(TFRecords(tmp_path / "b.tfrecord", self.parse), [X])

    def test_records_without_a_function(self, records):
        with pytest.raises(DataError, match="need a function that parses them"):
            open_data(records, [X])


@pytest.mark.parametrize("says", [True, False])
def test_a_dataset_of_keras_without_end(says):
    keras = pytest.importorskip("keras", reason="pip install keras")

    class Endless(keras.utils.PyDataset):
        def __getitem__(self, index):
            return x(index)

    if says:
        Endless.num_batches = None
    with pytest.raises(DataError, match="the Endless has no end(.|\n)*num_batches"):
        open_data(Endless(), [X])
    assert len(list(open_data(Endless(), [X], sample_limit=8))) == 4
    assert len(list(open_data(Endless(), [X], batch_num=3))) == 3
