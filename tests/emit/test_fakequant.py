"""The fake-quantized graph computes the arithmetic's numbers, bit for bit, wherever it is run."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant import quantize
from calibrant.graph import nodes as nd
from calibrant.graph.running.run import Runner, run_once
from calibrant.steps.records import layer_records
from graphs import conv, dense, graph_def, numbers, placeholder, small_network, tf, v1
from reference.integer_network import integer_outputs
from this_tensorflow import skipped_without_the_operation

STOCK = {"MulNoNan", "PlaceholderWithDefault", "Const", "Mul", "Round", "AddV2", "ClipByValue", "Sub", "Cast"}


def chain():
    """Quantizers behind a product with a constant, convolutions with and without bias, products and an addition."""
    y = conv(placeholder([None, 6, 6, 2]) * 0.0317, name="behind_factor")
    y = conv(y, name="behind_conv")
    y = tf.nn.bias_add(conv(y, name="float_conv"), tf.constant(numbers(4)))
    y = conv(y, name="behind_bias")
    y = tf.nn.depthwise_conv2d(y, tf.constant(numbers(3, 3, 4, 1)), [1, 1, 1, 1], "SAME", name="depthwise")
    y = tf.nn.avg_pool2d(tf.nn.relu6(y), 2, 2, "SAME", name="pool")
    y = tf.matmul(tf.reshape(y, [-1, 36]), tf.constant(numbers(36, 5)), name="first")
    y = tf.matmul(y, tf.constant(numbers(5, 4)), name="behind_product")
    y = tf.matmul(y + 1.0, tf.constant(numbers(4, 4)), name="behind_addition")
    tf.identity(y, "out")


def products():
    """Two activations against each other, a transposed convolution, a volume."""
    x = placeholder([None, 4, 4, 4])
    rows = tf.reshape(x, [-1, 16, 4])
    y = tf.raw_ops.BatchMatMulV2(x=rows, y=tf.reshape(x, [-1, 4, 16]), name="dynamic")
    y = tf.raw_ops.BatchMatMulV2(x=y, y=tf.constant(numbers(16, 4)), name="constant")
    y = tf.reshape(y, [-1, 4, 4, 4])
    sizes = tf.stack([tf.shape(y)[0], 8, 8, 3])
    y = v1.nn.conv2d_transpose(y, tf.constant(numbers(3, 3, 3, 4)), sizes, 2, name="transposed")
    y = tf.nn.conv3d(
        tf.reshape(y, [-1, 4, 4, 4, 3]), tf.constant(numbers(2, 2, 2, 3, 2)), [1] * 5, "SAME", name="volume"
    )
    tf.identity(y, "out")


NETWORKS = {
    "chain": (chain, numbers(16, 6, 6, 2, seed=3, scale=30)),
    "chain, some in float": (chain, numbers(16, 6, 6, 2, seed=3, scale=30)),
    "products": (products, numbers(16, 4, 4, 4, seed=3)),
    "steps of a half": (chain, np.round(numbers(16, 6, 6, 2, seed=3, scale=60)) / 2),
}
CONFIG = {
    "chain, some in float": 'skip_layers: ["behind_conv", "float_conv", "first"] do_fusion: false',
}


@pytest.fixture(scope="module", params=NETWORKS)
def quantized(request):
    """A result, with a batch that is rich in values halfway between two codes."""
    build, data = NETWORKS[request.param]
    result = quantize(graph_def(build), config=CONFIG.get(request.param), data=data)
    batch = data.copy()
    scale = result.network.layers[0].inputs[0].quantizer.scale
    halves = np.arange(batch[:8].size, dtype=np.float32).reshape(batch[:8].shape) % 301 - 150
    batch[:8] = halves * np.float32(0.5) * scale * (1 / np.float32(0.0317) if build is chain else 1)
    return result, {"x": batch}


def quantizers(result):
    """(tensor in front, dequantized tensor, quantizer) of every activation, read off the graph."""
    for found in result.network.every_input():
        behind = nd.data_inputs(result.fakequant.nodes[found.node])[found.index]
        yield found.tensor, behind, found.quantizer


def test_every_quantizer_is_bit_equal_to_the_arithmetic(quantized):
    result, batch = quantized
    points = list(quantizers(result))
    values = run_once(result.fakequant, batch, [tensor for point in points for tensor in point[:2]])
    ties = 0
    for (_, _, quantizer), before, after in zip(points, values[::2], values[1::2], strict=True):
        assert after.tobytes() == quantizer.fake_quantize(before).tobytes()
        scaled = before * quantizer.inverse
        ties += int(np.sum(np.abs(scaled - np.trunc(scaled)) == 0.5))
    assert ties > 50


def test_a_plain_session_gives_the_same_bits(quantized):
    """TensorFlow's optimizer is on there; each tensor is fetched alone, as what is fetched is not optimized away."""
    result, batch = quantized
    with Runner(result.fakequant, [point[1] for point in quantizers(result)]) as runner:
        expected = [np.array(value) for value in runner(batch)]
    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(result.fakequant.graph_def(), name="")
        with v1.Session(graph=imported) as session:
            for (_, tensor, _), value in zip(quantizers(result), expected, strict=True):
                assert session.run(tensor, {"x:0": batch["x"]}).tobytes() == value.tobytes(), tensor


def test_a_tf_function_gives_the_same_bits(quantized):
    result, batch = quantized
    tensors = [point[1] for point in quantizers(result)]
    with Runner(result.fakequant, tensors) as runner:
        expected = [np.array(value) for value in runner(batch)]
    wrapped = v1.wrap_function(lambda: tf.graph_util.import_graph_def(result.fakequant.graph_def(), name=""), [])
    for tensor, value in zip(tensors, expected, strict=True):
        pruned = wrapped.prune("x:0", tensor)
        assert pruned(tf.constant(batch["x"])).numpy().tobytes() == value.tobytes(), tensor


def test_the_optimizer_leaves_every_multiplication_of_a_quantizer(quantized):
    result, batch = quantized
    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(result.fakequant.graph_def(), name="")
        record = v1.RunMetadata()
        with v1.Session(graph=imported) as session:
            options = v1.RunOptions(output_partition_graphs=True)
            session.run(result.fakequant.outputs[0], {"x:0": batch["x"]}, options=options, run_metadata=record)
    left = {node.name: node.op for graph in record.partition_graphs for node in graph.node}
    ours = [name for name in result.fakequant.nodes if name.endswith(("/scaled", "/dequantized"))]
    assert ours and [left.get(name) for name in ours] == [result.fakequant.nodes[name].op for name in ours]


def test_weights_are_codes_times_scale_and_biases_whole_steps(quantized):
    result, _ = quantized
    for layer in result.network.layers:
        if layer.weights is None:
            continue
        node = result.fakequant.nodes[layer.layer.name]
        weights = result.fakequant.constant(nd.data_inputs(node)[layer.layer.weight_input])
        assert layer.weights.values.dtype == np.int8
        assert weights.tobytes() == layer.weights.dequantize().tobytes()
        if layer.bias is not None:
            bias = result.fakequant.constant(nd.data_inputs(result.fakequant.nodes[layer.layer.bias])[1])
            steps = bias / layer.bias_scale()
            assert np.abs(steps - np.rint(steps)).max() <= np.abs(steps).max() * 2.0**-23
            assert np.abs(bias - layer.bias).max() <= 0.5001 * layer.bias_scale().max()


def test_inputs_and_outputs_are_those_of_the_original(quantized):
    result, batch = quantized
    assert result.fakequant.inputs == result.original.inputs
    assert result.fakequant.outputs == result.original.outputs
    added = [node for name, node in result.fakequant.nodes.items() if "/act_quant" in name]
    assert {node.op for node in added} <= STOCK
    before, after = (run_once(graph, batch)[0] for graph in (result.original, result.fakequant))
    assert after.dtype == before.dtype and after.shape == before.shape
    assert not np.array_equal(before, after)


@pytest.mark.parametrize(
    "config", [None, "activation_offset : false", "common_config { arq_quantize { quant_bits : 6 } }"]
)
def test_the_demonstration_network_equals_integer_arithmetic(repository, config):
    digits = repository / "examples" / "digits"
    result = quantize(digits / "digits.pb", config=config, data=digits / "calibration.npz")
    with np.load(digits / "test.npz") as test:
        batch = {"image": test["x"][:32]}
    (expected,) = integer_outputs(result.network, batch)
    (found,) = run_once(result.fakequant, batch)
    (original,) = run_once(result.original, batch)
    # Float rounding in front of a quantizer can move a value across the border between two codes.
    assert np.mean(np.abs(expected - found) < 1e-5) > 0.98
    assert np.abs(expected - found).max() < 0.02 < np.abs(original - found).max() + 0.02
    assert np.abs(original - found).max() > 1e-3


def test_readers_of_one_tensor_share_a_quantizer_only_with_equal_settings():
    def build():
        x = placeholder([None, 6, 6, 2])
        branches = [conv(x, name=name, seed=seed) for seed, name in enumerate(("a", "b", "c"))]
        tf.add_n(branches, name="out")

    other = """override_layer_configs { layer_name : "c"
        calibration_config { hfmg_quantize { num_of_bins : 1024 asymmetric : false } } }"""
    result = quantize(graph_def(build), config=other, data=numbers(16, 6, 6, 2))
    read = {name: nd.data_inputs(result.fakequant.nodes[name])[0] for name in "abc"}
    assert read["a"] == read["b"] != read["c"]
    assert sum(node.op == "Round" for node in result.fakequant.nodes.values()) == 2
    a, b, c = (layer.inputs[0].quantizer for layer in result.network.layers)
    assert a == b and c.offset == 0 != a.offset


def test_both_operands_of_a_product_of_one_tensor_with_itself():
    def build():
        x = placeholder([None, 4, 4])
        tf.raw_ops.BatchMatMulV2(x=x, y=x, name="out")

    result = quantize(graph_def(build), data=numbers(16, 4, 4))
    (layer,) = result.network.layers
    assert [entry.index for entry in layer.inputs] == [0, 1] and layer.inputs[0].quantizer == layer.inputs[1].quantizer
    assert layer.inputs[0].quantizer.offset == 0
    assert len(set(nd.data_inputs(result.fakequant.nodes["out"]))) == 1
    assert {"out", "out:1"} == layer_records(result.network).keys()


def half_network(pool=False):
    def build():
        x = placeholder([None, 6, 6, 2], dtype=tf.float16)
        y = tf.nn.conv2d(x, tf.constant(numbers(3, 3, 2, 4).astype(np.float16)), 1, "SAME", name="conv")
        y = tf.nn.bias_add(y, tf.constant(numbers(4).astype(np.float16)), name="bias")
        y = tf.nn.avg_pool2d(y, 2, 2, "SAME", name="pool") if pool else y
        tf.identity(y, "out")

    return build


def test_a_half_precision_network_keeps_its_types():
    data = numbers(16, 6, 6, 2).astype(np.float16)
    result = quantize(graph_def(half_network(pool=True)), data=data)
    assert [layer.layer.name for layer in result.network.layers] == ["conv"]
    assert ("pool", "AvgPool") in {(entry["layer"], entry["type"]) for entry in result.report["left_in_float"]}
    before, after = (run_once(graph, {"x": data})[0] for graph in (result.original, result.fakequant))
    assert after.dtype == np.float16 and 0 < np.abs(before - after).max() < 0.1
    (point,) = quantizers(result)
    inside, outside = run_once(result.fakequant, {"x": data}, point[:2])
    assert outside.tobytes() == point[2].fake_quantize(inside).astype(np.float16).tobytes()


def test_force_fp16_rounds_the_scale_wherever_it_is_used():
    data = numbers(16, 6, 6, 2)
    plain = quantize(graph_def(small_network), data=data)
    result = quantize(graph_def(small_network), config="fakequant_precision_mode : FORCE_FP16_QUANT", data=data)
    batch = {"x": data}
    for layer, unrounded in zip(result.network.layers, plain.network.layers, strict=True):
        assert layer.inputs[0].quantizer == unrounded.inputs[0].quantizer
        rounded = layer.inputs[0].quantizer.with_float16_scale()
        assert rounded != layer.inputs[0].quantizer
        behind = nd.data_inputs(result.fakequant.nodes[layer.layer.name])[0]
        before, after = run_once(result.fakequant, batch, [layer.inputs[0].tensor, behind])
        assert after.tobytes() == rounded.fake_quantize(before).tobytes()
        if layer.bias is not None:
            bias = result.fakequant.constant(nd.data_inputs(result.fakequant.nodes[layer.layer.bias])[1])
            step = np.float64(rounded.scale) * layer.weights.scale
            expected = np.rint(layer.bias / step) * step
            np.testing.assert_array_equal(bias, expected.astype(np.float32))


def test_a_layer_whose_weights_are_all_zero():
    def build():
        y = tf.nn.conv2d(placeholder([None, 6, 6, 2]), tf.zeros([3, 3, 2, 4]), 1, "SAME", name="nothing")
        tf.identity(dense(tf.reshape(y, [-1, 144])), "out")

    data = numbers(16, 6, 6, 2)
    result = quantize(graph_def(build), data=data)
    before, after = (run_once(graph, {"x": data})[0] for graph in (result.original, result.fakequant))
    np.testing.assert_allclose(before, after, atol=1e-2)
    assert [layer.weights.scale.max() for layer in result.network.layers][0] == 1


def test_the_fake_quantized_file_can_be_quantized_and_inspected_like_any_other(tmp_path):
    data = numbers(16, 6, 6, 2)
    first = quantize(graph_def(small_network), data=data, out=tmp_path)
    again = quantize(tmp_path / "model_fakequant.pb", data=data)
    assert again.original.inputs == first.original.inputs and again.original.outputs == first.original.outputs
    assert [layer.layer.name for layer in again.network.layers] == ["conv", "pool", "dense"]


def test_a_bias_after_a_grouped_convolution_is_nothing_that_tensorflow_could_fuse():
    """It has no fused kernel with groups of its own, and would fail in a session without oneDNN."""

    def build():
        y = tf.nn.conv2d(placeholder([None, 6, 6, 4]), tf.constant(numbers(3, 3, 2, 8)), 1, "SAME", name="grouped")
        y = tf.nn.relu(tf.nn.bias_add(y, tf.constant(numbers(8)), name="bias"))
        y = tf.nn.bias_add(tf.nn.conv2d(y, tf.constant(numbers(1, 1, 8, 2)), 1, "SAME", name="plain"), numbers(2))
        tf.identity(y, "out")

    data = numbers(16, 6, 6, 4)
    with skipped_without_the_operation():
        result = quantize(graph_def(build), data=data)
    kinds = {name: node.op for name, node in result.fakequant.nodes.items()}
    assert kinds["bias"] == "AddV2" and list(kinds.values()).count("BiasAdd") == 1
    assert [layer.layer.bias_add for layer in result.network.layers][0] == "bias"
    with v1.Session(graph=tf.Graph()) as session:
        tf.graph_util.import_graph_def(result.fakequant.graph_def(), name="")
        found = session.run("out:0", {"x:0": data})
    expected = run_once(result.original, {"x": data})[0]
    assert np.square(found - expected).mean() < 1e-3 * np.square(expected).mean()
