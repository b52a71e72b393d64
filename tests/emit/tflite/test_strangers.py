"""What networks of strangers showed: unread parts, FakeQuant nodes, equal constants, tensors without a name."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.evaluation.divergence import OutputDivergence
from calibrant.evaluation.tflite_runner import TfliteRunner
from graphs import conv, dense, graph_def, numbers, placeholder, tf
from tflite_networks import contents, exported, image, model_of, steps_apart


def unread_part():
    """As the first reset gate of an unrolled GRU: XNNPACK does not keep it."""
    _, update = tf.split(tf.sigmoid(dense(placeholder([None, 6]), 8, "gates")), 2, axis=1)
    return dense(update, 3, "last", seed=4)


def test_a_part_of_a_split_that_nobody_reads(tmp_path):
    result, x = exported(model_of(unread_part), out=tmp_path / "out", name="model")
    assert calibrant.verify(tmp_path / "out", x).passed
    calibrant.golden(tmp_path / "out", x)


def fake_quantized():
    weights = tf.quantization.fake_quant_with_min_max_args(tf.constant(numbers(3, 3, 4, 4, seed=1)), -3.0, 3.0)
    y = tf.nn.relu(tf.nn.conv2d(image(), weights, 1, "SAME", name="trained"))
    return conv(tf.quantization.fake_quant_with_min_max_args(y, 0.0, 6.0, name="trained_range"), name="two", seed=2)


def test_fake_quant_nodes_stay_as_they_are(tmp_path):
    result, x = exported(model_of(fake_quantized), out=tmp_path / "out", name="model")
    assert not result.refused
    assert calibrant.verify(tmp_path / "out", x).passed


def test_equal_constants_are_stored_once():
    def build():
        y = conv(image(), name="one", seed=3)
        return conv(y, name="two", seed=3)

    result, _ = exported(model_of(build))
    file = File(contents(result)[0])
    layers = [operator for operator in file.operators() if operator.name == "CONV_2D"]
    codes = [operator.read(1) for operator in layers]
    assert (codes[0].constant == codes[1].constant).all()
    assert codes[0].raw.buffer == codes[1].raw.buffer


def test_a_tensor_that_is_only_moved_to_one_that_the_graph_knows():
    """The converter puts the negation before the transposition, where the graph has no such tensor."""

    def build():
        y = tf.transpose(tf.squeeze(conv(image(1, 8, 4), name="one"), [1]), [0, 2, 1])
        return tf.cos(-y)

    result, x = exported(model_of(build))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 0.1
    assert [found["operator"] for found in result.export_notes["tflite"]["operators_in_float"]] == ["COS"]
    assert all(operator.is_integer for operator in file.operators() if operator.name in ("MUL", "TRANSPOSE"))


def test_a_result_with_codes_of_a_new_scale_is_compared_as_it_is():
    def build():
        gate = tf.reshape(tf.sigmoid(dense(placeholder([None, 6]), 8, "one")), [-1, 8], name="gate")
        tf.identity(dense(gate, 3, "two", seed=4), name="out")

    x = numbers(8, 6)
    result = calibrant.quantize(graph_def(build), "batch_num: 1", [{"x": x}], export="tflite", outputs=["gate", "out"])
    runner = TfliteRunner(next(value for name, value in result.exported.items() if name.endswith(".tflite")))
    end = runner.file.outputs()[0]
    runner.run({0: x})
    np.testing.assert_array_equal(runner.real(runner.quantized_output(end)).ravel(), runner.real(end).ravel())


def test_classes_are_equal_or_not():
    divergence = OutputDivergence([1.0])
    classes = np.zeros((1, 1000), np.int64)
    other = classes.copy()
    other[0, 7] = 1
    divergence.update([classes], [other])
    [found] = divergence.outputs
    assert found.whole and found.share_equal == 0.999


def test_the_bias_of_a_layer_on_sequences_goes_into_its_kernel():
    """Keras puts it behind a Squeeze (Conv1D) or a Reshape (Dense): an operator of its own would round once more."""

    def build():
        y = conv(image(1, 8, 4), name="one")
        y = tf.nn.relu(tf.nn.bias_add(tf.squeeze(y, [1]), numbers(4, seed=7)))
        y = tf.reshape(dense(tf.reshape(y, [-1, 4]), 5, "two", seed=4), [-1, 8, 5])
        return tf.nn.bias_add(y, numbers(5, seed=8))

    result, x = exported(model_of(build))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 1
    assert "ADD" not in [operator.name for operator in file.operators()]


def test_an_activation_between_a_layer_and_a_reshape_has_the_scale_of_its_reader():
    def build():
        y = tf.reshape(dense(tf.reshape(placeholder([None, 8, 4]), [-1, 4]), 5, "one"), [-1, 8, 5])
        y = tf.nn.relu(tf.nn.bias_add(y, numbers(5, seed=8)))
        return tf.sigmoid(dense(tf.reshape(tf.transpose(y, [0, 2, 1]), [-1, 8]), 3, "two", seed=9))

    result, x = exported(model_of(build))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 1
    made = [operator.outputs[0] for operator in file.operators() if operator.name == "FULLY_CONNECTED"]
    assert made[0].zero_point == -128


@pytest.mark.parametrize("padding", ["same", "valid", "causal"])
def test_convolutions_in_groups_over_sequences(padding):
    """Keras calls them in a function of their own, where their weights are computed."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 6))
    y = layers.Conv1D(8, 3, groups=2, padding=padding)(layers.Conv1D(8, 3)(inputs))
    result = calibrant.quantize(keras.Model(inputs, y), data=numbers(16, 16, 6), samples=16, export="tflite")
    assert not result.refused and result.report["totals"]["layers_left_in_float"] == 0
