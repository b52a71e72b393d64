"""Models whose sizes are open: files of one sample a run, and what to do where that is not enough."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.conversion.open_sizes import with_shape_hint
from calibrant.emit.tflite.flatbuffer import File
from calibrant.graph.reading.load import load
from graphs import conv, dense, graph_def, numbers, placeholder, tf
from tflite_networks import contents


def spectrum():
    x = placeholder([None, 256])
    mel = tf.matmul(tf.abs(tf.signal.stft(x, 64, 32)), tf.constant(np.abs(numbers(33, 8, seed=7))))
    y = tf.nn.relu(conv(mel[..., None], 3, "one"))
    tf.identity(dense(tf.reduce_mean(y, [1, 2]), 3, "two"), name="out")


def test_a_graph_that_is_not_converted_with_an_open_batch_takes_one_sample_a_run(tmp_path):
    x = numbers(4, 256, seed=3)
    result = calibrant.quantize(
        graph_def(spectrum), "batch_num: 1", [x], tmp_path / "out", export="tflite", outputs=["out"]
    )
    assert not result.refused
    assert File(contents(result)[0]).inputs()[0].signature == (1, 256)
    assert result.export_notes["tflite"]["samples_a_run"] == 1
    assert calibrant.verify(tmp_path / "out", x).passed


def in_groups():
    """A normalization by groups as Keras 2 has it, which LiteRT cannot broadcast for an open number of samples."""
    y = conv(placeholder([None, 8, 8, 3]), 8, "one")
    sizes = tf.shape(y)
    grouped, ones = (tf.reshape(each, tf.stack([*tf.unstack(sizes)[:3], 4, 2])) for each in (y, tf.ones_like(y)))
    mean, variance = tf.nn.weighted_moments(grouped, [1, 2, 4], ones, keepdims=True)
    normalized = tf.nn.batch_normalization(grouped, mean, variance, None, None, 1e-3)
    tf.identity(dense(tf.reshape(tf.reshape(normalized, sizes), [-1, 512]), 3, "two"), name="out")


def test_a_file_that_does_not_run_with_an_open_batch_takes_one_sample_a_run(tmp_path):
    x = numbers(4, 8, 8, 3, seed=3)
    result = calibrant.quantize(
        graph_def(in_groups), "batch_num: 1", [x], tmp_path / "out", export="tflite", outputs=["out"]
    )
    assert not result.refused
    assert result.export_notes["tflite"]["samples_a_run"] == 1
    assert calibrant.verify(tmp_path / "out", x).passed


def of_four_samples():
    x = placeholder([None, 6, 6, 2])
    four = dense(tf.reshape(2 * conv(tf.reshape(x, [4, 6, 6, 2])), [4, 144]))
    tf.identity(four[: tf.shape(x)[0]], name="out")


def test_a_file_that_runs_with_the_samples_of_a_calibration_batch_alone_takes_as_many(tmp_path):
    x, how = numbers(8, 6, 6, 2, seed=3), {"batch_size": 4, "refine": False, "export": "tflite"}
    result = calibrant.quantize(graph_def(of_four_samples), data=x, out=tmp_path / "out", **how)
    assert not result.refused
    assert result.export_notes["tflite"]["samples_a_run"] == 4
    assert calibrant.verify(tmp_path / "out", x, batch_size=4).passed


def test_a_batch_that_is_chosen_stays(tmp_path):
    x, model = numbers(4, 256, seed=3), graph_def(spectrum)
    result = calibrant.quantize(
        model, "batch_num: 1", [x], tmp_path / "out", export="tflite", outputs=["out"], tflite_batch=2
    )
    assert File(contents(result)[0]).inputs()[0].signature == (2, 256)


def test_open_sizes_that_the_converter_has_to_know_are_asked_for():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, 4), name="x")
    attended = keras.layers.MultiHeadAttention(2, 4)(inputs, inputs, use_causal_mask=True)
    model, x = keras.Model(inputs, keras.layers.Dense(3)(attended)), numbers(4, 6, 4, seed=3)
    with pytest.raises(calibrant.ModelError) as refused:
        calibrant.quantize(model, "batch_num: 1", [x], export="tflite")
    hints = {problem.hint for problem in refused.value.problems}
    assert hints == {"fix the sizes of its inputs, --tflite-shape x=1,6,4"}
    assert not calibrant.quantize(model, "batch_num: 1", [x], export="tflite", tflite_shape={"x": (1, 6, 4)}).refused


def test_an_input_without_a_rank_that_a_kernel_has_to_know():
    def build():
        x = tf.compat.v1.placeholder(tf.float32, None, name="x")
        tf.identity(dense(tf.reshape(x, [-1, 8]), 3, "one"), name="out")

    model, x = graph_def(build), numbers(4, 8, seed=3)
    with pytest.raises(calibrant.ModelError) as refused:
        calibrant.quantize(model, "batch_num: 1", [x], export="tflite")
    assert refused.value.problems[0].hint == "fix the sizes of its inputs, --tflite-shape x=1,8"
    assert not calibrant.quantize(model, "batch_num: 1", [x], export="tflite", tflite_shape={"x": (1, 8)}).refused


@pytest.mark.parametrize(
    ("shape", "data", "wanted"),
    [
        ((None, None, 4), None, "1,SIZE,4"),
        ((None, None, 4), (32, 6, 4), "1,6,4"),
        ((3, None), (3, 5), "3,5"),
        (None, (32, 8), "1,8"),
        (None, None, "SIZE,SIZE,…"),
    ],
)
def test_what_is_known_of_a_shape_is_in_the_option(shape, data, wanted):
    model = graph_def(lambda: tf.identity(tf.compat.v1.placeholder(tf.float32, shape, name="x"), name="out"))
    batch = None if data is None else [np.zeros(data, np.float32)]
    error = with_shape_hint(calibrant.ModelError("refused"), load(model), batch)
    assert error.problems[0].hint == f"fix the sizes of its inputs, --tflite-shape x={wanted}"


@pytest.mark.parametrize(
    ("shapes", "said", "allowed"),
    [
        ({"x": (1, 5)}, "tflite_shape of 'x' is [1, 5]", "[any, 8]"),
        ({"x": (1, 8, 1)}, "tflite_shape of 'x' is [1, 8, 1]", "[any, 8]"),
        ({"y": (1, 8)}, "tflite_shape of 'y' is [1, 8]: there is no such input", "x"),
    ],
)
def test_shapes_that_the_inputs_cannot_have(shapes, said, allowed):
    model = graph_def(lambda: tf.identity(dense(placeholder([None, 8]), 3, "one"), name="out"))
    with pytest.raises(calibrant.ConfigError) as refused:
        calibrant.quantize(model, "batch_num: 1", [numbers(4, 8)], export="tflite", tflite_shape=shapes)
    [problem] = refused.value.problems
    assert (problem.message, problem.allowed) == (said, allowed)


@pytest.mark.parametrize("cell", [keras.layers.LSTM, keras.layers.GRU])
def test_a_loop_over_an_open_sequence(cell, tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, 4), name="x")
    y = cell(4, return_sequences=True)(keras.layers.Dense(4)(inputs))
    model, x = keras.Model(inputs, keras.layers.Dense(3)(y)), numbers(4, 6, 4, seed=3)
    result = calibrant.quantize(model, "batch_num: 1", [x], tmp_path / "out", export="tflite")
    assert File(contents(result)[0]).inputs()[0].signature == (1, None, 4)
    assert calibrant.verify(tmp_path / "out", x).passed
    fixed = calibrant.quantize(model, "batch_num: 1", [x], export="tflite", tflite_shape={"x": (2, 6, 4)})
    assert File(contents(fixed)[0]).inputs()[0].signature == (2, 6, 4)


def test_a_shape_and_a_batch_that_contradict_each_other():
    model = graph_def(lambda: tf.identity(dense(placeholder([None, 8]), 3, "one"), name="out"))
    with pytest.raises(calibrant.ConfigError, match=r"is \[4, 8\], and tflite_batch is 2"):
        calibrant.quantize(
            model, "batch_num: 1", [numbers(4, 8)], export="tflite", tflite_batch=2, tflite_shape={"x": (4, 8)}
        )


def test_a_file_that_does_not_run_with_fixed_sizes_either_has_no_hint_to_fix_them():
    def build():
        sizes = tf.abs(tf.signal.rfft2d(tf.reshape(placeholder([None, 60]), [-1, 6, 10])))
        tf.identity(dense(tf.reshape(sizes, [-1, 36]), 3, "one"), name="out")

    with pytest.raises(calibrant.ModelError, match="does not run") as refused:
        calibrant.quantize(graph_def(build), "batch_num: 1", [numbers(4, 60)], export="tflite", outputs=["out"])
    assert "--tflite-shape" not in str(refused.value)


def test_a_batch_that_the_operations_do_not_take():
    def build():
        tf.identity(dense(tf.reshape(placeholder([None, 4]), [-1, 8]), 3, "one"), name="out")

    model, x = graph_def(build), numbers(4, 4, seed=3)
    with pytest.raises(calibrant.ModelError, match="does not take the sizes that are fixed") as refused:
        calibrant.quantize(model, "batch_num: 1", [x], export="tflite", tflite_batch=1)
    assert "--tflite-shape" in str(refused.value)
    assert not calibrant.quantize(model, "batch_num: 1", [x], export="tflite", tflite_shape={"x": (2, 4)}).refused


def two_maps():
    maps = [placeholder([None, None, None, 3], name) for name in "ab"]
    joined = tf.concat([conv(each, 4, f"of_{each.op.name}") for each in maps], 3)
    tf.identity(conv(joined, 4, "last"), name="out")


@pytest.mark.parametrize(("fixed", "other"), ["ab", "ba"])
def test_another_input_that_is_open_as_well_is_named(fixed, other):
    data = {name: numbers(16, 8, 8, 3, seed=seed) for seed, name in enumerate("ab")}
    shape = (3, 8, 8, 3)
    model = graph_def(two_maps)
    with pytest.raises(calibrant.ModelError, match="does not run") as caught:
        calibrant.quantize(model, data=data, export="tflite", tflite_shape={fixed: shape})
    wanted = f"the sizes of {other} are open as well, --tflite-shape {other}=3,8,8,3"
    assert [problem.hint for problem in caught.value.problems] == [wanted]
    result = calibrant.quantize(model, data=data, export="tflite", tflite_shape={fixed: shape, other: shape})
    assert "model_int8.tflite" in result.exported
