"""Balancing: the float network stays the same, and the division goes where it costs nothing if that is exact."""

import numpy as np
import pytest

import calibrant
from balanced_networks import DMQ, balanced, divisions, float_difference, quantized, spread
from calibrant.errors import DataError
from calibrant.graph import nodes as nd
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from calibrant.graph.tensorflow import tensorflow
from calibrant.steps.balancing.balanced_constants import BalancedConstants
from graphs import numbers
from this_tensorflow import skipped_without_the_operation

SHAPE = (6, 6, 4)


def weighted(channels, out, seed, size=1):
    """Convolution weights HWIO whose channels are of very different size."""
    return numbers(size, size, channels, out, seed=seed) * spread(out)


def conv(tf, x, out, name, seed, size=1, **options):
    return tf.nn.conv2d(x, weighted(int(x.shape[-1]), out, seed, size), 1, "SAME", name=name, **options)


def only(layer):
    return f'override_layer_configs {{ layer_name : "{layer}" calibration_config {{ dmq_balancer {{ }} }} }}'


def through(middle):
    """A graph conv → middle → dense convolution; only the last is balanced."""
    return lambda tf, x: conv(
        tf, middle(tf, tf.nn.bias_add(conv(tf, x, 8, "first", 1), numbers(8, seed=2))), 3, "last", 5
    )


@pytest.mark.parametrize(
    "middle",
    [
        lambda tf, y: y,
        lambda tf, y: tf.nn.relu(y),
        lambda tf, y: tf.nn.leaky_relu(tf.identity(y)),
        lambda tf, y: tf.nn.max_pool2d(tf.nn.relu(y), 2, 2, "SAME"),
        lambda tf, y: tf.nn.avg_pool2d(y, 2, 2, "VALID"),
        lambda tf, y: tf.nn.relu(y) * spread(8),
        lambda tf, y: tf.nn.relu6(y) * tf.constant(0.5),
        lambda tf, y: tf.nn.relu6(y) * 0.5 + numbers(1, 6, 6, 8, seed=7),
        lambda tf, y: numbers(8, seed=7) - tf.nn.tanh(y) * 2.0,
        lambda tf, y: tf.nn.tanh(y) * tf.sigmoid(y) * numbers(1, 6, 6, 8, seed=7),
        lambda tf, y: tf.reshape(tf.nn.relu(y), [-1, 3, 12, 8]),
        lambda tf, y: y + tf.nn.relu(y),
    ],
)
def test_the_division_goes_into_what_is_in_front(middle):
    result = quantized(through(middle), SHAPE, only("last"))
    assert divisions(result) == [] and list(balanced(result)) == ["last"]
    assert float_difference(result, SHAPE) < 1e-4


@pytest.mark.parametrize(
    "middle",
    [
        lambda tf, y: tf.nn.relu6(y),
        lambda tf, y: tf.nn.tanh(y),
        lambda tf, y: tf.nn.softmax(y),
        lambda tf, y: tf.concat([y, y], -1),
        lambda tf, y: tf.reshape(y, [-1, 12, 12, 2]),
        lambda tf, y: tf.nn.relu(y) + tf.reduce_mean(y, [1, 2], keepdims=True),
        lambda tf, y: y + tf.nn.relu6(y),
        lambda tf, y: tf.nn.relu(y) * tf.reduce_max(tf.nn.relu(y), -1, keepdims=True),
        lambda tf, y: tf.transpose(y, [0, 2, 1, 3]),
    ],
)
def test_where_that_is_not_exact_one_multiplication_stays(middle):
    result = quantized(through(middle), SHAPE, only("last"))
    assert divisions(result) == ["last"]
    assert float_difference(result, SHAPE) < 1e-4


def test_an_addition_takes_the_division_on_both_sides():
    def build(tf, x):
        return conv(tf, tf.nn.relu(conv(tf, x, 8, "left", 1) + conv(tf, x, 8, "right", 2)), 3, "last", 5)

    result = quantized(build, SHAPE, only("last"))
    assert divisions(result) == [] and float_difference(result, SHAPE) < 1e-4


def test_a_norm_that_was_not_folded_takes_the_division():
    def build(tf, x):
        y, *_ = tf.compat.v1.nn.fused_batch_norm(
            x, spread(4), numbers(4), numbers(4, seed=1), spread(4), is_training=False, name="norm"
        )
        return conv(tf, tf.nn.relu(y), 3, "last", 5)

    result = quantized(build, SHAPE, only("last"))
    assert divisions(result) == [] and float_difference(result, SHAPE) < 1e-4


def test_a_layer_norm_takes_the_division_in_gamma_and_beta():
    def build(tf, x):
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        y = tf.nn.batch_normalization(x, mean, variance, numbers(8, seed=1), spread(8), 1e-6)
        return tf.matmul(tf.reshape(y, [-1, 8]), numbers(8, 3, seed=2), name="last")

    result = quantized(build, (5, 8), only("last"))
    assert divisions(result) == [] and float_difference(result, (5, 8)) < 1e-4


def test_a_gelu_takes_the_division_in_its_half():
    def build(tf, x):
        y = tf.matmul(x, numbers(6, 8, seed=1), name="first")
        return tf.matmul(tf.constant(0.5) * y * (1.0 + tf.tanh(y)), numbers(8, 3, seed=2), name="last")

    result = quantized(build, (6,), only("last"))
    assert divisions(result) == [] and float_difference(result, (6,)) < 1e-4


def test_a_tensor_with_another_reader_is_not_divided():
    def build(tf, x):
        y = tf.nn.relu(conv(tf, x, 8, "first", 1))
        return tf.concat([conv(tf, y, 3, "last", 5), y], -1)

    result = quantized(build, SHAPE, only("last"))
    assert divisions(result) == ["last"] and float_difference(result, SHAPE) < 1e-4


def test_a_model_output_is_not_divided():
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, *SHAPE], name="x")
        y = tf.nn.relu(conv(tf, x, 8, "first", 1), name="middle")
        conv(tf, y, 3, "last", 5)
    data = {"x": numbers(4, *SHAPE)}
    result = calibrant.quantize(graph.as_graph_def(), DMQ, data=data, outputs=["middle", "last"])
    assert divisions(result) == ["first", "last"]
    for before, after in zip(run_once(result.original, data), run_once(result.network.graph, data), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * np.abs(before).max())


def test_layers_that_read_one_tensor_divide_their_own_copies():
    def build(tf, x):
        y = tf.nn.relu(x)
        return tf.concat([conv(tf, y, 3, name, seed) for name, seed in (("a", 1), ("b", 2))], -1)

    result = quantized(build, SHAPE)
    assert sorted(divisions(result)) == ["a", "b"] and float_difference(result, SHAPE) < 1e-4


def test_layers_with_the_same_factors_share_the_division_and_the_quantizer():
    def build(tf, x):
        weights = tf.constant(weighted(4, 3, 1), name="shared")
        return tf.concat(
            [tf.nn.conv2d(x, weights, stride, "SAME", name=f"c{n}") for n, stride in enumerate((1, 1))], -1
        )

    result = quantized(build, SHAPE)
    assert divisions(result) == ["c0"] and float_difference(result, SHAPE) < 1e-4
    reads = {nd.data_inputs(result.fakequant.nodes[name])[0] for name in ("c0", "c1")}
    assert len(reads) == 1


def test_shared_weights_stay_shared_and_are_balanced_for_both():
    def build(tf, x):
        weights = tf.constant(weighted(4, 4, 1), name="shared")
        y = tf.nn.tanh(tf.nn.conv2d(x, weights, 1, "SAME", name="a")) * 50.0
        return tf.nn.conv2d(y, weights, 1, "SAME", name="b")

    result = quantized(build, SHAPE)
    a, b = result.network.layers
    assert a.weights is b.weights and a.balance is b.balance and float_difference(result, SHAPE) < 1e-4


def test_weights_shared_with_a_layer_that_is_not_balanced_are_copied():
    def build(tf, x):
        weights = tf.constant(weighted(4, 4, 1), name="shared")
        return tf.nn.conv2d(tf.nn.conv2d(x, weights, 1, "SAME", name="a"), weights, 1, "SAME", name="b")

    result = quantized(build, SHAPE, only("b"))
    assert list(balanced(result)) == ["b"] and float_difference(result, SHAPE) < 1e-4
    np.testing.assert_array_equal(result.network.layers[0].float_weights, weighted(4, 4, 1))


LAYERS = {
    "Conv2D": ((6, 6, 4), lambda tf, x: conv(tf, x, 3, "layer", 1, size=3, dilations=2)),
    "grouped Conv2D": ((6, 6, 4), lambda tf, x: tf.nn.conv2d(x, weighted(2, 6, 1, 3), 1, "SAME", name="layer")),
    "DepthwiseConv2dNative": (
        (6, 6, 4),
        lambda tf, x: tf.nn.depthwise_conv2d(x, numbers(3, 3, 4, 2), [1, 1, 1, 1], "VALID", name="layer"),
    ),
    "Conv2DBackpropInput": (
        (6, 6, 4),
        lambda tf, x: tf.nn.conv2d_transpose(x, numbers(3, 3, 5, 4), [8, 12, 12, 5], 2, "SAME", name="layer"),
    ),
    "Conv3D": (
        (4, 4, 4, 3),
        lambda tf, x: tf.nn.conv3d(x, numbers(2, 2, 2, 3, 5), [1, 1, 1, 1, 1], "SAME", name="layer"),
    ),
    "MatMul": ((7,), lambda tf, x: tf.matmul(x, numbers(7, 5), name="layer")),
    "BatchMatMulV2": ((4, 7), lambda tf, x: tf.raw_ops.BatchMatMulV2(x=x, y=numbers(7, 5), name="layer")),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_factors_by_the_definition_for_every_type(kind):
    """s = a^m / w^(1-m), with a and w read off input and weights channel by channel, the slow way."""
    shape, build = LAYERS[kind]
    data = numbers(8, *shape, seed=3) * spread(shape[-1])
    result = quantized(build, shape, "common_config { dmq_balancer { migration_strength : 0.3 } }", data=data)
    (layer,) = result.network.layers
    node = result.original.nodes["layer" if "layer" in result.original.nodes else "layer/depthwise"]
    original = result.original.constant(nd.data_inputs(node)[1])
    channels = shape[-1]
    groups = channels // original.shape[layer.layer.reduced_axis]
    for c in range(channels):
        a = np.abs(data[..., c]).max()
        read = np.take(original, c % (channels // groups), axis=layer.layer.reduced_axis)
        if groups > 1:
            per_group = read.shape[-1] // groups
            group = c // (channels // groups)
            read = read[..., group * per_group : (group + 1) * per_group]
        np.testing.assert_allclose(layer.balance[c], a**0.3 / np.abs(read).max() ** 0.7, rtol=1e-5)
    if kind != "Conv2DBackpropInput":
        assert float_difference(result, shape) < 1e-4
    else:
        batch = {"x": data}
        before, after = run_once(result.original, batch)[0], run_once(result.network.graph, batch)[0]
        np.testing.assert_allclose(after, before, atol=1e-4 * np.abs(before).max())


def test_a_product_of_rows_takes_the_division_of_the_next_one():
    def build(tf, x):
        y = tf.raw_ops.BatchMatMulV2(x=x, y=numbers(6, 8, seed=1) * spread(8), name="first")
        return tf.raw_ops.BatchMatMulV2(x=tf.nn.relu(y), y=numbers(8, 3, seed=2), name="last")

    result = quantized(build, (5, 6))
    assert list(balanced(result)) == ["first", "last"] and divisions(result) == ["first"]
    assert float_difference(result, (5, 6)) < 1e-4


def test_a_product_of_two_activations_is_not_balanced():
    def build(tf, x):
        y = tf.raw_ops.BatchMatMulV2(x=x, y=x, adj_y=True, name="scores")
        return tf.raw_ops.BatchMatMulV2(x=y, y=numbers(5, 3), name="last")

    assert list(balanced(quantized(build, (5, 6)))) == ["last"]


def test_channels_first_are_counted_on_their_own_axis():
    def build(tf, x):
        weights = tf.constant(weighted(4, 3, 1))
        return tf.raw_ops.Conv2D(
            input=x, filter=weights, strides=[1, 1, 1, 1], padding="SAME", data_format="NCHW", name="layer"
        )

    data = numbers(8, 4, 6, 6, seed=3) * spread(4).reshape(4, 1, 1)
    result = quantized(build, (4, 6, 6), data=data)
    (factors,) = balanced(result).values()
    largest = np.abs(weighted(4, 3, 1)).max(axis=(0, 1, 3))
    np.testing.assert_allclose(factors, np.sqrt(np.abs(data).max(axis=(0, 2, 3)) / largest), rtol=1e-5)
    with skipped_without_the_operation():
        assert float_difference(result, (4, 6, 6)) < 1e-4


def test_weights_that_take_a_division_in_are_balanced_as_they_will_be():
    def build(tf, x):
        return conv(tf, tf.nn.relu(conv(tf, x, 8, "first", 1)), 3, "last", 5)

    result = quantized(build, SHAPE)
    first, last = result.network.layers
    data = numbers(8, *SHAPE, seed=3)
    np.testing.assert_allclose(
        np.abs(data).max(axis=(0, 1, 2)) / first.balance, np.abs(first.float_weights).max(axis=(0, 1, 3)), rtol=1e-4
    )
    assert divisions(result) == ["first"] and float_difference(result, SHAPE) < 1e-4


def test_dead_channels():
    """A channel without data and one without weights: no factor is zero, infinite or NaN, the outputs stay."""

    def build(tf, x):
        weights = weighted(4, 3, 1)
        weights[:, :, 1] = 0
        return tf.nn.conv2d(x * [0.0, 1, 1, 1], weights, 1, "SAME", name="layer")

    result = quantized(build, SHAPE)
    (factors,) = balanced(result).values()
    assert np.isfinite(factors).all() and (factors > 0).all() and float_difference(result, SHAPE) < 1e-4


def test_data_that_can_be_read_only_once_are_refused():
    def build(tf, x):
        return conv(tf, x, 3, "layer", 1)

    def once():
        yield {"x": numbers(2, *SHAPE)}

    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        build(tf, tf.compat.v1.placeholder(tf.float32, [None, *SHAPE], name="x"))
    with pytest.raises(DataError, match="needs the data twice"):
        calibrant.quantize(graph.as_graph_def(), DMQ, data=once())
    assert calibrant.quantize(graph.as_graph_def(), data=once()).network.layers
    assert balanced(calibrant.quantize(graph.as_graph_def(), DMQ, data=once))


def test_balancing_helps_where_channels_differ():
    def build(tf, x):
        return tf.matmul(x * spread(32), numbers(32, 8, seed=1) / spread(32)[:, None], name="layer")

    errors = []
    for config in (None, DMQ):
        result = quantized(build, (32,), config, samples=64)
        batch = {"x": numbers(64, 32, seed=9)}
        before, after = run_once(result.original, batch)[0], run_once(result.fakequant, batch)[0]
        errors.append(float(np.square(after - before).mean()))
    assert errors[1] < errors[0] / 20


def test_weights_of_float16_stay_finite_and_no_warning_is_heard(recwarn):
    def build(tf, x):
        half = tf.cast(x, tf.float16)
        weights = np.array([[60000, 1], [3, 2], [0.5, 1]], np.float16)
        return tf.cast(tf.matmul(half, weights, name="product"), tf.float32)

    data = np.array([[50, 1, 3], [-60, 0.5, 2]], np.float32) / 100
    result = quantized(build, (3,), "common_config { dmq_balancer { migration_strength : 0.8 } }", data=data)
    assert balanced(result).keys() == {"product"}
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_factors_leave_the_largest_weight_of_its_type():
    with tensorflow().Graph().as_default() as graph:
        x = tensorflow().compat.v1.placeholder(np.float16, [None, 2], name="x")
        tensorflow().matmul(x, np.array([[60000, 1], [3, 2]], np.float16), name="product")
    network = load(graph)
    layers = find_layers(network)[0]
    work = BalancedConstants(network, {layer.name: layer for layer in layers})
    factors = work.balance(layers, np.array([60000, 0.5], np.float32), 0.8)
    np.testing.assert_allclose(factors[0], 65504 / 60000, rtol=1e-3)
    balanced_weights = work.finish().require_constant("product/balanced_1:0")
    assert balanced_weights.dtype == np.float16 and np.isfinite(balanced_weights).all()
