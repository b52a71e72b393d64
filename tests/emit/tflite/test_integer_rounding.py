"""What is between the layers is rounded in the simulation as the file's kernels round it: the same codes."""

from __future__ import annotations

import platform

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.running.run import run_once
from graphs import conv, dense, graph_def, numbers, placeholder, tf
from tflite_networks import NETWORKS, contents, exported, image, steps_apart

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the formulas are those of x86 kernels")


def addition(activation=lambda t: t, scale=1.0):
    y = tf.nn.relu(conv(image(), name="one"))
    z = conv(y * scale, name="two", seed=4)
    return conv(activation(z + y), name="three", seed=6)


def average(window, stride, padding, activation=tf.nn.relu):
    return tf.nn.avg_pool2d(activation(conv(image(9, 9, 4), name="one")), window, stride, padding, name="pool")


def mean(height, width, name):
    y = tf.nn.relu(conv(image(height, width, 4), 16, name="one"))
    return tf.reduce_mean(y, [1, 2], name=name)


def one_of_two_scales(tensor):
    """Two layers read a tensor; the range of the second one's input is searched by itself."""
    return conv(tensor, name="two", seed=4) + conv(tf.nn.max_pool2d(tensor, 3, 1, "SAME"), name="three", seed=5)


def resized(align, half, size=(13, 21)):
    y = conv(image(7, 9, 4), name="one")
    made = tf.raw_ops.ResizeBilinear(images=y, size=size, align_corners=align, half_pixel_centers=half)
    return conv(made, name="two", seed=4)


def resized_from_any_size(align, half, computed):
    """Of a size that is known as the file runs, to one that is known, or is computed: then LiteRT's own kernel does."""
    y = conv(placeholder([None, None, None, 4]), name="one")
    size = tf.shape(y)[1:3] * 5 // 3 if computed else (13, 21)
    made = tf.raw_ops.ResizeBilinear(images=y, size=size, align_corners=align, half_pixel_centers=half)
    return conv(made, name="two", seed=4)


def transposed_to_a_computed_shape(channels):
    """The shape is known as the file runs: then LiteRT's own kernel takes the operator, in vectors of 8 channels."""
    y = tf.nn.relu(conv(image(8, 8, 4), name="one"))
    weights = tf.constant(numbers(3, 3, channels, 4, seed=3, scale=0.3), name="up/weights")
    shape = tf.stack([tf.shape(y)[0], 16, 16, channels])
    return conv(tf.nn.conv2d_transpose(y, weights, shape, 2, "SAME", name="up"), name="two")


BETWEEN = {
    "addition": addition,
    "addition, relu": lambda: addition(tf.nn.relu),
    "addition, relu6": lambda: addition(tf.nn.relu6, 6.0),
    "addition, small term": lambda: addition(scale=0.02),
    "average 2x2": lambda: conv(average(2, 2, "VALID"), name="two"),
    "average 3x3 SAME": lambda: conv(average(3, 1, "SAME"), name="two"),
    "average of negative codes": lambda: conv(average(3, 2, "SAME", tf.identity), name="two"),
    "average, read in float": lambda: tf.cos(average(3, 1, "SAME")),
    "average, read in float and by a layer": lambda: conv((p := average(3, 2, "SAME")) + tf.cos(p), name="two"),
    "average, output": lambda: average(2, 2, "SAME", tf.nn.relu6),
    "mean": lambda: mean(7, 7, "mean"),
    "mean in front of a layer": lambda: dense(mean(5, 13, "mean")),
    "global average": NETWORKS["global average"],
    "two scales": lambda: one_of_two_scales(tf.nn.relu(conv(image(), name="one"))),
    "pooled, then a layer": lambda: conv(tf.nn.max_pool2d(conv(image(), name="one"), 2, 2, "SAME"), name="two"),
    "concatenated": NETWORKS["concatenated"],
    "grouped": NETWORKS["grouped"],
    "resized": lambda: resized(False, False),
    "resized, corners aligned": lambda: resized(True, False),
    "resized, between pixels": lambda: resized(False, True),
    "resized, smaller": lambda: resized(False, True, (3, 5)),
    "transposed to a computed shape": lambda: transposed_to_a_computed_shape(11),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_codes_are_those_of_the_file(name):
    result, x = exported(graph_def(lambda: tf.identity(BETWEEN[name](), name="out")), count=256)
    apart, _ = steps_apart(result, x)
    assert apart.max() < 0.1


@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize("align, half", [(False, False), (True, False), (False, True)])
def test_resizes_of_open_sizes(align, half, computed):
    network = graph_def(lambda: tf.identity(resized_from_any_size(align, half, computed), name="out"))
    x = numbers(256, 7, 9, 4)
    result = calibrant.quantize(network, "batch_num: 4", x, export="tflite")
    [made] = [each for each in File(contents(result)[0]).operators() if each.name == "RESIZE_BILINEAR"]
    assert made.outputs[0].dtype == np.int8
    apart, _ = steps_apart(result, x)
    assert apart.max() < 0.1


def test_a_resize_behind_a_computed_shape():
    """XNNPACK takes it, as its size is in the file."""

    def build():
        up = transposed_to_a_computed_shape(5)
        resized = tf.image.resize(up, [6, 7])
        tf.identity(resized - tf.reduce_max(resized, [1, 2], keepdims=True), name="out")

    result, x = exported(graph_def(build), count=256)
    apart, _ = steps_apart(result, x)
    assert apart.max() < 0.1


@pytest.mark.parametrize("name, kind", [("transposed to a computed shape", "TRANSPOSE_CONV"), ("resized", "RESIZE")])
def test_they_are_on_integers(name, kind):
    result, _ = exported(graph_def(lambda: tf.identity(BETWEEN[name](), name="out")))
    [made] = [each for each in File(contents(result)[0]).operators() if each.name.startswith(kind)]
    assert made.outputs[0].dtype == np.int8


@pytest.mark.parametrize("height, width", [(5, 25), (11, 13)])
@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-1.0, 3.0), (-7.0, 0.2)])
def test_a_mean_of_every_sum_of_codes(height, width, low, high):
    """A few sums in ten thousand are close enough to a half for the order of the kernel's steps to show."""

    def build():
        tf.identity(dense(tf.reduce_mean(placeholder([None, height, width, 1]), [1, 2], name="mean")), name="out")

    random, count = np.random.default_rng(5), height * width
    calibration = [{"x": random.uniform(low, high, (16, height, width, 1)).astype(np.float32)} for _ in range(4)]
    result = calibrant.quantize(graph_def(build), "batch_num: 4", calibration, export="tflite")
    sums = np.arange(-128 * count, 127 * count + 1)
    whole, rest = np.divmod(sums, count)
    codes = whole[:, None] + (np.arange(count) < rest[:, None])
    content, simulation = contents(result)
    runner = TfliteRunner(content)
    [fed] = [operator.outputs[0] for operator in runner.file.operators() if operator.name == "QUANTIZE"]
    x = ((codes - fed.zero_point).astype(np.float32) * fed.scale[0]).reshape(-1, height, width, 1)
    runner.run({0: x})
    [made] = [operator.outputs[0] for operator in runner.file.operators() if operator.name == "MEAN"]
    [simulated] = run_once(simulation, {"x": x}, ["mean/between:0"])
    in_codes = np.rint(simulated / made.scale[0]) + made.zero_point
    assert np.array_equal(in_codes.ravel(), runner.codes(made).ravel())
    assert len(np.unique(in_codes)) > 50


@pytest.mark.parametrize(
    "setting",
    [
        'tensor_quantize { layer_name: "add" input_index: 0 } tensor_quantize { layer_name: "add" input_index: 1 }',
        "fakequant_precision_mode: FORCE_FP16_QUANT",
        "joint_quant: true",
    ],
)
def test_settings_keep_the_codes(setting):
    definition = graph_def(lambda: tf.identity(NETWORKS["residual"](), name="out"))
    apart, _ = steps_apart(*exported(definition, f"batch_num: 4 {setting}", count=256))
    assert apart.max() < 0.1


def test_conversions_are_really_in_these_files():
    result, _ = exported(graph_def(lambda: tf.identity(BETWEEN["two scales"](), name="out")))
    operators = list(File(contents(result)[0]).operators())
    assert any(operator.name == "QUANTIZE" and operator.is_integer for operator in operators)


def test_parts_have_the_scale_of_what_they_are_concatenated_into():
    result, _ = exported(graph_def(lambda: tf.identity(NETWORKS["grouped"](), name="out")))
    [joined] = [entry for entry in File(contents(result)[0]).operators() if entry.name == "CONCATENATION"]
    scales = {float(tensor.scale[0]) for tensor in (*joined.inputs, *joined.outputs)}
    assert len(scales) == 1


def test_pooling_keeps_the_scale_that_it_reads():
    result, _ = exported(graph_def(lambda: tf.identity(tf.cos(average(3, 1, "SAME")), name="out")))
    [pool] = [entry for entry in File(contents(result)[0]).operators() if entry.name == "AVERAGE_POOL_2D"]
    quantizer = result.network.layers[1].inputs[0].quantizer
    for tensor in (pool.inputs[0], pool.outputs[0]):
        assert (tensor.scale[0], tensor.zero_point) == (quantizer.scale, quantizer.offset)


def test_numbers_of_a_softmax_that_are_too_small_for_float32():
    """A caller may have asked NumPy to raise for them."""
    network = graph_def(lambda: tf.nn.softmax(dense(placeholder([None, 8]))))
    with np.errstate(all="raise"):
        result = calibrant.quantize(network, None, numbers(32, 8, scale=100), export="tflite")
    assert not result.refused
