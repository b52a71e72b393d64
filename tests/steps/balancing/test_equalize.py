"""Equalizing: no operation is added, the float network stays the same, and weights with one scale get better."""

import json

import numpy as np
import pytest

import calibrant
from balanced_networks import spread
from calibrant.errors import CalibrantError
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from calibrant.graph.tensorflow import tensorflow
from command_line import run
from graphs import numbers

PER_TENSOR = "batch_num : 2  common_config { arq_quantize { channel_wise : false } }"
SHAPE = (8, 8, 3)


def graph_of(build):
    tf = tensorflow()
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, *SHAPE], name="x")
        tf.identity(build(tf, x), name="out")
    return load(graph.as_graph_def(), outputs=["out"])


def network(middle=None, clip=True, channels=8):
    """Convolution, depthwise convolution, convolution; what the first two give differs much from channel to channel."""

    def build(tf, x):
        act = tf.nn.relu6 if clip else tf.nn.relu
        first = numbers(3, 3, 3, channels, seed=1) * spread(channels)
        y = act(tf.nn.bias_add(tf.nn.conv2d(x, first, 1, "SAME", name="first"), 0.1 * spread(channels)))
        y = middle(tf, y) if middle else y
        second = numbers(3, 3, channels, 1, seed=2) / spread(channels).reshape(-1, 1)
        y = act(tf.nn.depthwise_conv2d(y, second, [1, 1, 1, 1], "VALID", name="depthwise"))
        return tf.nn.conv2d(y, numbers(1, 1, channels, 4, seed=3), 1, "VALID", name="last")

    return graph_of(build)


def batches(size=1.0):
    return [np.random.default_rng(seed).normal(0, size, (8, *SHAPE)).astype(np.float32) for seed in range(2)]


def outputs(graph, data):
    return np.concatenate([np.array(run_once(graph, {graph.input_keys[0]: batch})[0]) for batch in data])


def error(result, data):
    reference = outputs(result.original, data)
    return float(np.square(reference - outputs(result.fakequant, data)).mean() / np.square(reference).mean())


MIDDLES = {
    "nothing": None,
    "zeros around": lambda tf, y: tf.pad(y, [[0, 0], [1, 1], [1, 1], [0, 0]]),
    "pooling": lambda tf, y: tf.nn.max_pool2d(y, 2, 1, "SAME"),
    "leaky": lambda tf, y: tf.nn.leaky_relu(y),
}


@pytest.mark.parametrize("middle", MIDDLES.values(), ids=MIDDLES)
@pytest.mark.parametrize("clip", [True, False], ids=["Relu6", "Relu"])
@pytest.mark.parametrize("size", [0.02, 1.0, 50.0])
def test_the_float_network_stays_and_no_operation_is_added(middle, clip, size):
    graph, data = network(middle, clip), batches(size)
    plain, result = (calibrant.quantize(graph, PER_TENSOR, data, equalize=chosen) for chosen in (False, True))
    reference = outputs(graph, data)
    assert np.abs(outputs(result.folded.graph, data) - reference).max() < 1e-4 * np.abs(reference).max()
    operations = [sorted(node.op for node in each.fakequant.nodes.values()) for each in (plain, result)]
    assert operations[0] == operations[1]


@pytest.mark.parametrize("clip", [True, False], ids=["Relu6", "Relu"])
def test_weights_with_one_scale_lose_less(clip):
    graph, data = network(clip=clip), batches(0.3)
    before, after = (error(calibrant.quantize(graph, PER_TENSOR, data, equalize=e), data) for e in (False, True))
    assert after < 0.5 * before


def test_weights_change_only_where_channels_may():
    """A sum reads what the first layer gives, too, so nothing can be divided there."""

    def build(tf, x):
        y = tf.nn.relu(tf.nn.conv2d(x, numbers(3, 3, 3, 8, seed=1) * spread(8), 1, "SAME", name="first"))
        return y + tf.nn.conv2d(y, numbers(1, 1, 8, 8, seed=2), 1, "SAME", name="last")

    graph = graph_of(build)
    plain, result = (calibrant.quantize(graph, PER_TENSOR, batches(), equalize=chosen) for chosen in (False, True))
    for one, other in zip(plain.network.layers, result.network.layers, strict=True):
        np.testing.assert_array_equal(one.float_weights, other.float_weights)


def test_dense_layers_and_a_mean_over_the_picture():
    def build(tf, x):
        y = tf.nn.relu6(tf.nn.conv2d(x, numbers(3, 3, 3, 8, seed=1) * spread(8), 1, "SAME", name="first"))
        y = tf.nn.relu(tf.matmul(tf.reduce_mean(y, [1, 2]), numbers(8, 6, seed=2) * spread(6), name="dense"))
        return tf.matmul(y, numbers(6, 4, seed=3), name="last")

    graph, data = graph_of(build), batches()
    result = calibrant.quantize(graph, PER_TENSOR, data, equalize=True)
    reference = outputs(graph, data)
    assert np.abs(outputs(result.folded.graph, data) - reference).max() < 1e-5 * np.abs(reference).max()
    changed = [layer.layer.name for layer in result.network.layers]
    plain = calibrant.quantize(graph, PER_TENSOR, data)
    same = [np.array_equal(*(each.network.layers[k].float_weights for each in (plain, result))) for k in range(3)]
    assert changed == ["first", "dense", "last"] and same == [False, False, False]


def test_a_channel_of_zeros():
    def build(tf, x):
        first = numbers(3, 3, 3, 4, seed=1) * np.float32([1, 0, 100, 1])
        y = tf.nn.relu(tf.nn.conv2d(x, first, 1, "SAME", name="first"))
        return tf.nn.conv2d(y, numbers(1, 1, 4, 4, seed=2) * np.float32([1, 1, 1, 0]).reshape(4, 1), 1, "SAME")

    graph, data = graph_of(build), batches()
    result = calibrant.quantize(graph, PER_TENSOR, data, equalize=True)
    assert np.isfinite(outputs(result.fakequant, data)).all() and error(result, data) < 1e-3


def test_what_is_written_can_be_quantized_again(tmp_path):
    (tmp_path / "model.pb").write_bytes(network().serialized())
    np.save(tmp_path / "x.npy", np.concatenate(batches()))
    options = ["--data", tmp_path / "x.npy", "--export", "ascend"]
    first = run("quantize", tmp_path / "model.pb", *options, "--out", tmp_path / "out", "--equalize")
    assert first.code == 0, first.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["run"]["options"]["equalize"] is True
    again = run("quantize", tmp_path / "out" / "model_equalized.pb", *options, "--out", tmp_path / "again")
    assert again.code == 0, again.err
    records = [(tmp_path / folder / "record.txt").read_bytes() for folder in ("out", "again")]
    assert records[0] == records[1]


def test_data_that_can_be_read_once():
    with pytest.raises(CalibrantError, match="equalizing needs the data twice"):
        calibrant.quantize(network(), None, iter(batches()), equalize=True)


def first(tf, x):
    return tf.nn.relu(tf.nn.conv2d(x, numbers(3, 3, 3, 8, seed=1) * spread(8), 1, "SAME"))


def multiplier(tf, x):
    y = tf.nn.relu6(tf.nn.depthwise_conv2d(first(tf, x), numbers(3, 3, 8, 2, seed=2), [1, 1, 1, 1], "SAME"))
    return tf.nn.conv2d(y, numbers(1, 1, 16, 4, seed=3), 1, "SAME")


def transposed(tf, x):
    weights = numbers(2, 2, 6, 8, seed=2) * spread(6).reshape(6, 1)
    y = tf.nn.relu(tf.nn.conv2d_transpose(first(tf, x), weights, [tf.shape(x)[0], 16, 16, 6], 2, "VALID"))
    return tf.nn.conv2d(y, numbers(1, 1, 6, 4, seed=3), 1, "SAME")


def grouped(tf, x):
    y = tf.nn.relu(tf.nn.conv2d(first(tf, x), numbers(3, 3, 4, 6, seed=2), 1, "SAME"))
    return tf.nn.conv2d(y, numbers(1, 1, 6, 4, seed=3), 1, "SAME")


def shared_bias(tf, x):
    """The bias that is divided is an operand of the output, too."""
    bias = tf.constant(numbers(8, seed=9))
    y = tf.nn.bias_add(tf.nn.conv2d(first(tf, x), numbers(1, 1, 8, 8, seed=4) * spread(8), 1, "SAME"), bias)
    return tf.nn.conv2d(tf.nn.relu(y), numbers(3, 3, 8, 8, seed=2), 1, "SAME") + bias


def shared_weights(tf, x):
    weights = tf.constant(numbers(3, 3, 8, 8, seed=2))
    return tf.nn.conv2d(tf.nn.relu(tf.nn.conv2d(first(tf, x), weights, 1, "SAME")), weights, 1, "SAME")


@pytest.mark.parametrize(
    ("build", "changed"), [(multiplier, 3), (transposed, 3), (grouped, 3), (shared_bias, 3), (shared_weights, 0)]
)
def test_channels_of_every_kind_of_layer(build, changed):
    graph, data = graph_of(build), batches(0.5)
    plain, result = (calibrant.quantize(graph, PER_TENSOR, data, equalize=chosen) for chosen in (False, True))
    reference = outputs(graph, data)
    assert np.abs(outputs(result.folded.graph, data) - reference).max() < 1e-5 * np.abs(reference).max()
    pairs = zip(plain.network.layers, result.network.layers, strict=True)
    assert sum(not np.array_equal(one.float_weights, other.float_weights) for one, other in pairs) == changed
    assert error(result, data) <= error(plain, data)
