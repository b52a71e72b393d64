"""Every layer type in every form: the emitted layer computes what its integers say, and keeps its attributes."""

import numpy as np
import pytest

import calibrant
from calibrant.graph import nodes as nd
from calibrant.graph.running.run import run_once
from calibrant.graph.tensorflow import tensorflow
from this_tensorflow import skipped_without_the_operation

BATCH = 3


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(0.2, 1, shape).astype(np.float32)


def conv2d(**options):
    return lambda tf, x, w: tf.raw_ops.Conv2D(input=x, filter=w, name="layer", **{**PLAIN, **options})


def depthwise(**options):
    return lambda tf, x, w: tf.raw_ops.DepthwiseConv2dNative(input=x, filter=w, name="layer", **{**PLAIN, **options})


def transposed(size, **options):
    return lambda tf, x, w: tf.raw_ops.Conv2DBackpropInput(
        input_sizes=[BATCH, *size], filter=w, out_backprop=x, name="layer", **{**PLAIN, **options}
    )


def conv3d(**options):
    options = {"strides": [1] * 5, "padding": "SAME", **options}
    return lambda tf, x, w: tf.raw_ops.Conv3D(input=x, filter=w, name="layer", **options)


PLAIN = {"strides": [1, 1, 1, 1], "padding": "SAME"}
EXPLICIT = {"padding": "EXPLICIT", "explicit_paddings": [0, 0, 1, 0, 2, 1, 0, 0]}
STRIDED = {"strides": [1, 2, 2, 1]}
IMAGE, KERNEL = (7, 8, 4), (3, 3, 4, 6)
CASES = {
    "Conv2D": (IMAGE, KERNEL, conv2d()),
    "Conv2D VALID": (IMAGE, KERNEL, conv2d(padding="VALID")),
    "Conv2D EXPLICIT": (IMAGE, KERNEL, conv2d(**EXPLICIT)),
    "Conv2D strided": (IMAGE, KERNEL, conv2d(**STRIDED)),
    "Conv2D dilated": (IMAGE, KERNEL, conv2d(dilations=[1, 2, 3, 1])),
    "Conv2D in groups": (IMAGE, (3, 3, 2, 6), conv2d()),
    "Conv2D with one channel": ((7, 8, 1), (3, 3, 1, 1), conv2d()),
    "DepthwiseConv2dNative": (IMAGE, (3, 3, 4, 1), depthwise()),
    "DepthwiseConv2dNative multiplier 2": (IMAGE, (3, 3, 4, 2), depthwise(padding="VALID")),
    "DepthwiseConv2dNative EXPLICIT": (IMAGE, (3, 3, 4, 3), depthwise(**EXPLICIT)),
    "DepthwiseConv2dNative strided": (IMAGE, (3, 3, 4, 2), depthwise(**STRIDED)),
    "Conv2DBackpropInput": (IMAGE, (3, 3, 5, 4), transposed((14, 16, 5), **STRIDED)),
    "Conv2DBackpropInput VALID": (IMAGE, (3, 3, 5, 4), transposed((9, 10, 5), padding="VALID")),
    "Conv3D": ((4, 5, 4, 3), (2, 3, 2, 3, 5), conv3d()),
    "Conv3D VALID strided": ((4, 5, 4, 3), (2, 3, 2, 3, 5), conv3d(padding="VALID", strides=[1, 1, 2, 2, 1])),
    "MatMul": ((9,), (9, 5), lambda tf, x, w: tf.raw_ops.MatMul(a=x, b=w, name="layer")),
    "BatchMatMul": ((9,), (9, 5), lambda tf, x, w: tf.raw_ops.BatchMatMul(x=x, y=w, name="layer")),
    "BatchMatMulV2": ((2, 4, 9), (9, 5), lambda tf, x, w: tf.raw_ops.BatchMatMulV2(x=x, y=w, name="layer")),
    "BatchMatMulV3": (
        (4, 9),
        (9, 5),
        lambda tf, x, w: tf.raw_ops.BatchMatMulV3(x=x, y=w, Tout=x.dtype, name="layer"),
    ),
}
CHANNELS = {"Conv2D": (3,), "DepthwiseConv2dNative": (2, 3), "Conv2DBackpropInput": (2,), "Conv3D": (4,)}


def quantized(shape, weights, op, config=None, **options):
    tf = tensorflow()
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, *shape], name="x")
        tf.identity(op(tf, x, tf.identity(tf.constant(weights, name="weights"))), name="out")
    data = {"x": numbers(BATCH, *shape, seed=1)}
    return calibrant.quantize(graph.as_graph_def(), config, data=data, outputs=["out"], **options), data["x"]


@pytest.mark.parametrize("channel_wise", ["true", "false"])
@pytest.mark.parametrize("case", CASES)
def test_the_emitted_layer_computes_what_its_integers_say(case, channel_wise):
    shape, window, op = CASES[case]
    weights = numbers(*window, seed=2)
    config = f"common_config {{ arq_quantize {{ channel_wise : {channel_wise} }} }}"
    result, data = quantized(shape, weights, op, config, bias_correction=False)
    (layer,) = result.network.layers
    kind = layer.layer.type
    axes = CHANNELS.get(kind, ()) if channel_wise == "true" else ()
    assert layer.weights.scale.size == int(np.prod([window[axis] for axis in axes]))
    quantizer = layer.inputs[0].quantizer
    codes = quantizer.quantize(data).astype(np.float64) - quantizer.offset
    tf = tensorflow()
    sums = op(tf, tf.constant(codes), tf.constant(layer.weights.values.astype(np.float64))).numpy()
    assert (sums == np.rint(sums)).all() and np.abs(sums).max() > 1000
    expected = sums * np.float64(quantizer.scale) * layer.weights.scale.astype(np.float64)
    (found,) = run_once(result.fakequant, {"x": data})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    (exact,) = run_once(result.original, {"x": data})
    assert np.abs(found - exact).max() < 0.06 * np.abs(exact).max()


@pytest.mark.parametrize("case", CASES)
def test_the_layer_keeps_its_attributes(case):
    shape, window, op = CASES[case]
    result, _ = quantized(shape, numbers(*window, seed=2), op)
    before, after = result.original.nodes["layer"], result.fakequant.nodes["layer"]
    assert before.op == after.op == case.split()[0] and before.attr == after.attr


@pytest.mark.parametrize("kind", ["BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"])
def test_a_product_of_two_activations(kind):
    tf = tensorflow()
    extra = {"Tout": tf.float32} if kind == "BatchMatMulV3" else {}
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4, 6], name="x")
        y = tf.transpose(tf.nn.relu(x) * 3.0, [0, 2, 1])
        tf.identity(getattr(tf.raw_ops, kind)(x=x, y=y, name="layer", **extra), name="out")
    data = {"x": numbers(5, 4, 6)}
    result = calibrant.quantize(graph.as_graph_def(), "activation_offset : true", data=data, outputs=["out"])
    (layer,) = result.network.layers
    assert layer.weights is None and [entry.quantizer.offset for entry in layer.inputs] == [0, 0]
    left, right = (entry.quantizer for entry in layer.inputs)
    values = data["x"]
    other = np.transpose(np.maximum(values, 0) * np.float32(3), (0, 2, 1))
    expected = left.quantize(values).astype(np.float64) @ right.quantize(other).astype(np.float64)
    expected *= np.float64(left.scale) * np.float64(right.scale)
    np.testing.assert_allclose(run_once(result.fakequant, data)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_avg_pool(padding):
    def op(tf, x, _):
        return tf.raw_ops.AvgPool(value=x, ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding=padding, name="layer")

    result, data = quantized(IMAGE, np.zeros(1, np.float32), op)
    (layer,) = result.network.layers
    assert layer.weights is None and layer.balance is None
    tf = tensorflow()
    expected = op(tf, tf.constant(layer.inputs[0].quantizer.fake_quantize(data)), None).numpy()
    np.testing.assert_allclose(run_once(result.fakequant, {"x": data})[0], expected, rtol=1e-6, atol=1e-6)


NCHW = {
    "Conv2D": ((4, 7, 8), KERNEL, conv2d(data_format="NCHW")),
    "Conv2D dilated": ((4, 7, 8), KERNEL, conv2d(data_format="NCHW", dilations=[1, 1, 2, 2])),
    "Conv2D EXPLICIT": (
        (4, 7, 8),
        KERNEL,
        conv2d(data_format="NCHW", padding="EXPLICIT", explicit_paddings=[0, 0, 0, 0, 1, 0, 2, 1]),
    ),
    "DepthwiseConv2dNative multiplier 2": ((4, 7, 8), (3, 3, 4, 2), depthwise(data_format="NCHW")),
    "Conv2DBackpropInput": (
        (4, 7, 8),
        (3, 3, 5, 4),
        transposed((5, 14, 16), data_format="NCHW", strides=[1, 1, 2, 2]),
    ),
}


@pytest.mark.parametrize("case", NCHW)
def test_channels_first(case):
    """The same numbers as the layer with its channels last, where this TensorFlow can run it."""
    shape, window, op = NCHW[case]
    weights = numbers(*window, seed=2)
    with skipped_without_the_operation():
        result, data = quantized(shape, weights, op, bias_correction=False)
        (found,) = run_once(result.fakequant, {"x": data})
    (layer,) = result.network.layers
    assert layer.weights.scale.size == int(np.prod([window[axis] for axis in CHANNELS[case.split()[0]]]))
    quantizer = layer.inputs[0].quantizer
    codes = quantizer.quantize(data).astype(np.float32) - np.float32(quantizer.offset)
    tf = tensorflow()
    sums = op(tf, tf.constant(codes), tf.constant(layer.weights.values.astype(np.float32))).numpy()
    expected = sums * np.float64(quantizer.scale) * layer.weights.scale.astype(np.float64).reshape(-1, 1, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("case", NCHW)
def test_channels_first_are_found_and_planned(case):
    """Without running anything."""
    from calibrant.graph.layers import find_layers
    from calibrant.graph.reading.load import load

    shape, window, op = NCHW[case]
    tf = tensorflow()
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [BATCH, *shape], name="x")
        op(tf, x, tf.constant(numbers(*window)))
    (layer,), rejected = find_layers(load(graph.as_graph_def(), outputs=["layer"]))
    assert layer.type == case.split()[0] and layer.channel_axes == CHANNELS[layer.type] and rejected == ()


def test_weights_of_zeros():
    for case in ("Conv2D", "DepthwiseConv2dNative multiplier 2", "MatMul"):
        shape, window, op = CASES[case]
        result, data = quantized(shape, np.zeros(window, np.float32), op)
        (layer,) = result.network.layers
        assert (layer.weights.values == 0).all() and (layer.weights.scale == 1).all()
        assert (run_once(result.fakequant, {"x": data})[0] == 0).all()


def test_one_channel_of_zeros():
    shape, window, op = CASES["Conv2D"]
    weights = numbers(*window, seed=2)
    weights[..., 2] = 0
    result, data = quantized(shape, weights, op)
    (layer,) = result.network.layers
    assert (
        layer.weights.scale[2] == np.delete(layer.weights.scale, 2).max() and (layer.weights.values[..., 2] == 0).all()
    )
    assert np.isfinite(run_once(result.fakequant, {"x": data})[0]).all()


def two_layers(**names):
    """Two convolutions that read the same tensor; with ``shared`` the same weights too."""
    tf = tensorflow()
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, *IMAGE], name="x")
        y = tf.nn.relu(x, name="relu")
        first = tf.constant(numbers(*KERNEL, seed=2), name="weights")
        second = first if names.get("shared") else tf.constant(numbers(*KERNEL, seed=3), name="others")
        out = tf.nn.conv2d(y, tf.identity(first), 1, "SAME", name="a") + tf.nn.conv2d(y, second, 1, "SAME", name="b")
        tf.identity(out, name="out")
    return graph.as_graph_def(), {"x": numbers(BATCH, *IMAGE, seed=1)}


def override(name, block):
    return f'override_layer_configs {{ layer_name : "{name}" calibration_config {{ {block} }} }}'


def test_layers_that_read_one_tensor_with_equal_settings_share_the_quantizer():
    model, data = two_layers()
    result = calibrant.quantize(model, data=data, outputs=["out"])
    reads = [nd.data_inputs(result.fakequant.nodes[name])[0] for name in "ab"]
    assert reads[0] == reads[1]
    assert [node.op for node in result.fakequant.nodes.values()].count("Round") == 1


def test_layers_that_read_one_tensor_with_different_settings_have_their_own():
    model, data = two_layers()
    result = calibrant.quantize(
        model, override("b", "ifmr_quantize { asymmetric : false }"), data=data, outputs=["out"]
    )
    a, b = (layer.inputs[0].quantizer for layer in result.network.layers)
    assert a.offset == -128 and b.offset == 0
    assert [node.op for node in result.fakequant.nodes.values()].count("Round") == 2


def test_layers_with_shared_weights_have_one_set_of_factors():
    model, data = two_layers(shared=True)
    result = calibrant.quantize(model, data=data, outputs=["out"])
    a, b = result.network.layers
    assert a.weights is b.weights
    reads = [nd.data_inputs(result.fakequant.nodes[name])[1] for name in "ab"]
    assert reads[0] == reads[1]


def test_layers_with_shared_weights_and_different_settings_are_an_error():
    model, data = two_layers(shared=True)
    with pytest.raises(calibrant.ConfigError, match="shares its weights"):
        calibrant.quantize(model, override("b", "arq_quantize { quant_bits : 6 }"), data=data, outputs=["out"])
    with_float = calibrant.quantize(model, 'skip_layers : "b"', data=data, outputs=["out"])
    kept = with_float.fakequant.constant(nd.data_inputs(with_float.fakequant.nodes["b"])[1])
    np.testing.assert_array_equal(kept, numbers(*KERNEL, seed=2))
