"""The table of layer kinds: what is a layer, under which condition, with which axes; and why a node is none."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant import quantize
from calibrant.errors import ConfigError
from calibrant.graph import nodes as nd
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from calibrant.layer_kinds import KINDS
from graphs import graph_def, numbers, placeholder, tf, v1
from this_tensorflow import skipped_without_the_operation

raw = tf.raw_ops


def weights(*shape, dtype=np.float32):
    return tf.constant(numbers(*shape).astype(dtype))


def images(channels=4):
    return placeholder([None, 6, 6, channels])


def conv2d(**options):
    return lambda: tf.nn.conv2d(
        images(), weights(3, 3, 4, 5), name="layer", **{"strides": 1, "padding": "SAME", **options}
    )


def depthwise(multiplier, **options):
    return lambda: raw.DepthwiseConv2dNative(
        input=images(),
        filter=weights(3, 3, 4, multiplier),
        strides=[1, 1, 1, 1],
        padding="SAME",
        name="layer",
        **options,
    )


def transposed(**options):
    return lambda: raw.Conv2DBackpropInput(
        input_sizes=tf.constant([2, 6, 6, 5]),
        filter=weights(3, 3, 5, 4),
        out_backprop=placeholder([2, 6, 6, 4]),
        strides=[1, 1, 1, 1],
        padding="SAME",
        name="layer",
        **options,
    )


def volume(**options):
    x = [None, 4, 4, 4, 3]
    return lambda: raw.Conv3D(
        input=placeholder(x), filter=weights(2, 2, 2, 3, 5), strides=[1] * 5, padding="SAME", name="layer", **options
    )


def product(**options):
    return lambda: tf.matmul(placeholder([None, 4]), weights(4, 4), name="layer", **options)


def batched(op, y, **options):
    return lambda: getattr(raw, op)(x=placeholder([None, 4, 4]), y=y(), name="layer", **options)


def pool(**options):
    return lambda: raw.AvgPool(
        value=images(),
        **{"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID", "name": "layer", **options},
    )


# what -> (graph, data inputs, weight input, channel axes, number of channels)
LAYERS = {
    "Conv2D": (conv2d(), (0,), 1, (3,), 5),
    "Conv2D VALID": (conv2d(padding="VALID"), (0,), 1, (3,), 5),
    "Conv2D EXPLICIT": (conv2d(padding=[[0, 0], [1, 2], [0, 1], [0, 0]]), (0,), 1, (3,), 5),
    "Conv2D strided": (conv2d(strides=2), (0,), 1, (3,), 5),
    "Conv2D dilated": (conv2d(dilations=2), (0,), 1, (3,), 5),
    "depthwise": (depthwise(1), (0,), 1, (2, 3), 4),
    "depthwise, multiplier": (depthwise(3), (0,), 1, (2, 3), 12),
    "depthwise, dilated": (depthwise(2, dilations=[1, 2, 2, 1]), (0,), 1, (2, 3), 8),
    "Conv2DBackpropInput": (transposed(), (2,), 1, (2,), 5),
    "Conv3D": (volume(), (0,), 1, (4,), 5),
    "MatMul": (product(), (0,), 1, (), 1),
    "BatchMatMul": (batched("BatchMatMul", lambda: placeholder([None, 4, 4], "y")), (0, 1), None, (), 0),
    "BatchMatMulV2": (batched("BatchMatMulV2", lambda: weights(4, 3)), (0,), 1, (), 1),
    "BatchMatMulV3": (batched("BatchMatMulV3", lambda: weights(4, 3), Tout=tf.float32), (0,), 1, (), 1),
    "BatchMatMulV2, dynamic": (batched("BatchMatMulV2", lambda: placeholder([None, 4, 2], "y")), (0, 1), None, (), 0),
    "BatchMatMulV3, dynamic": (
        batched("BatchMatMulV3", lambda: placeholder([None, 4, 2], "y"), Tout=tf.float32),
        (0, 1),
        None,
        (),
        0,
    ),
    "MatMul, transpose_b": (product(transpose_b=True), (0,), 1, (), 1),
    "BatchMatMulV2, adj_y of a constant": (batched("BatchMatMulV2", lambda: weights(3, 4), adj_y=True), (0,), 1, (), 1),
    "BatchMatMul, adj_y": (
        batched("BatchMatMul", lambda: placeholder([None, 4, 4], "y"), adj_y=True),
        (0, 1),
        None,
        (),
        0,
    ),
    "BatchMatMulV2, constant of rank 3": (batched("BatchMatMulV2", lambda: weights(1, 4, 3)), (0, 1), None, (), 0),
    "BatchMatMulV2, constant first": (
        lambda: raw.BatchMatMulV2(x=weights(3, 4), y=placeholder([None, 4, 4]), name="layer"),
        (0, 1),
        None,
        (),
        0,
    ),
    "MatMul, constant first": (
        lambda: tf.matmul(weights(4, 2), placeholder([2, 3]), name="layer"),
        (0,),
        1,
        (),
        1,
    ),
    "AvgPool": (pool(), (0,), None, (), 0),
    "AvgPool SAME": (pool(padding="SAME"), (0,), None, (), 0),
}


@pytest.mark.parametrize("what", LAYERS)
def test_layers_and_their_quantized_model(what):
    build, data_inputs, weight_input, axes, channels = LAYERS[what]
    graph = load(graph_def(build))
    (layer,), rejected = find_layers(graph)
    assert (
        rejected == ()
        and layer.name == "layer"
        and layer.type == what.split()[0].strip(",").replace("depthwise", "DepthwiseConv2dNative")
    )
    assert (layer.data_inputs, layer.weight_input, layer.channel_axes) == (data_inputs, weight_input, axes)
    assert layer.is_dynamic == (len(data_inputs) == 2)
    batch = {
        key: numbers(2, *graph.shape(tensor)[1:], seed=7)
        for key, tensor in zip(graph.input_keys, graph.inputs, strict=True)
    }
    result = quantize(graph, data=batch)
    (found,) = result.network.layers
    assert (found.weights.scale.size if found.weights is not None else 0) == channels
    assert all(entry.quantizer.offset == 0 for entry in found.inputs) or not layer.is_dynamic
    with skipped_without_the_operation():
        before, after = (run_once(model, batch)[0] for model in (graph, result.fakequant))
    assert 0 < np.abs(before - after).max() < 0.05 * np.abs(before).max()


REJECTED = {
    "weights not constant": (
        lambda: tf.nn.conv2d(images(), placeholder([3, 3, 4, 2], "w"), 1, "SAME", name="layer"),
        "not constant",
    ),
    "transposed convolution, dilated": (transposed(dilations=[1, 2, 2, 1]), "dilation"),
    "volume, dilated in depth": (volume(dilations=[1, 2, 1, 1, 1]), "dilation 2 in depth"),
    "transpose_a": (product(transpose_a=True), "transpose_a"),
    "adj_x": (batched("BatchMatMulV2", lambda: weights(4, 3), adj_x=True), "adj_x"),
    "product of two activations": (lambda: tf.matmul(placeholder([4, 4]), placeholder([4, 4], "w")), "not constant"),
    "trained for quantization": (
        lambda: tf.nn.conv2d(
            images(), tf.quantization.fake_quant_with_min_max_vars(weights(3, 3, 4, 2), -1, 1, name="fq"), 1, "SAME"
        ),
        "pass 'fq' (FakeQuantWithMinMaxVars): the model was trained for quantization (QAT), and calibrant convert",
    ),
    "trained for 4 bits": (
        lambda: tf.nn.conv2d(
            images(), tf.quantization.fake_quant_with_min_max_vars(weights(3, 3, 4, 2), -1, 1, 4, name="fq"), 1, "SAME"
        ),
        "(FakeQuantWithMinMaxVars of 4 bits): the model was trained for quantization (QAT) to a width that no file "
        "has; train it with num_bits=8",
    ),
    "einsum of one index alone": (
        lambda: raw.Einsum(inputs=[placeholder([None, 4]), weights(4, 3)], equation="ab,bc->a", name="layer"),
        "an index of one operand alone is summed",
    ),
    "einsum that sums nothing": (
        lambda: raw.Einsum(inputs=[placeholder([None, 4]), weights(4)], equation="ab,b->ab", name="layer"),
        "nothing is summed",
    ),
    "transposed volume": (
        lambda: tf.nn.conv3d_transpose(
            placeholder([1, 4, 4, 4, 3]), weights(2, 2, 2, 4, 3), [1, 8, 8, 8, 4], 2, name="layer"
        ),
        "three spatial axes",
    ),
    "pool of a volume": (
        lambda: tf.nn.avg_pool3d(placeholder([1, 4, 4, 4, 3]), 2, 2, "VALID", name="layer"),
        "three spatial axes",
    ),
    "recurrent cell": (
        lambda: raw.GRUBlockCell(
            x=placeholder([2, 4]),
            h_prev=placeholder([2, 3], "h"),
            w_ru=weights(7, 6),
            w_c=weights(7, 3),
            b_ru=weights(6),
            b_c=weights(3),
            name="layer",
        ),
        "whole recurrent cell",
    ),
    "embedding": (
        lambda: tf.gather(weights(9, 4), placeholder([None], dtype=tf.int32), name="layer"),
        "looks up rows",
    ),
    "system of equations": (
        lambda: raw.MatrixTriangularSolve(matrix=weights(3, 3), rhs=placeholder([3, 5]), name="layer"),
        "solves a system",
    ),
    "float64 after a quantizer": (
        lambda: tf.matmul(
            tf.cast(tf.math.multiply_no_nan(placeholder([None, 4]), 2.0), tf.float64),
            tf.constant(np.ones((4, 2))),
            name="layer",
        ),
        "float64",
    ),
    "no weights at all": (lambda: tf.matmul(placeholder([None, 4]), tf.zeros([4, 0]), name="layer"), "empty"),
    "pool in half precision": (
        lambda: tf.nn.avg_pool2d(placeholder([None, 6, 6, 2], dtype=tf.float16), 2, 2, "SAME", name="layer"),
        "float16",
    ),
}


@pytest.mark.parametrize("what", REJECTED)
def test_what_comes_near_is_reported_with_the_reason(what):
    build, reason = REJECTED[what]
    graph = load(graph_def(build))
    layers, rejected = find_layers(graph)
    assert layers == ()
    ((name, text),) = [(entry.name, entry.reason) for entry in rejected]
    assert name in graph.nodes and reason in text


def test_a_volume_dilated_in_width_only_is_a_layer():
    definition = graph_def(volume())
    next(node for node in definition.node if node.name == "layer").attr["dilations"].list.i[:] = [1, 1, 2, 2, 1]
    assert len(find_layers(load(definition))[0]) == 1


@pytest.mark.parametrize("op", ["Conv2D", "DepthwiseConv2dNative", "AvgPool", "Conv3D"])
def test_channels_first(op):
    """The weights have the same layout in both data formats."""

    def build():
        x = placeholder([None, 4, 6, 6] if op != "Conv3D" else [None, 4, 6, 6, 6])
        if op == "AvgPool":
            raw.AvgPool(
                value=x, ksize=[1, 1, 2, 2], strides=[1, 1, 2, 2], padding="SAME", data_format="NCHW", name="layer"
            )
            return
        shape = {"Conv2D": (3, 3, 4, 5), "DepthwiseConv2dNative": (3, 3, 4, 2), "Conv3D": (2, 2, 2, 4, 5)}[op]
        options = {"strides": [1] * (5 if op == "Conv3D" else 4), "padding": "SAME", "name": "layer"}
        getattr(raw, op)(input=x, filter=weights(*shape), data_format="NCDHW" if op == "Conv3D" else "NCHW", **options)

    (layer,), _ = find_layers(load(graph_def(build)))
    assert layer.type == op and layer.channel_axes == KINDS[op].channel_axes


def test_the_bias_is_the_only_reader_and_constant():
    def build():
        x = images()
        alone = tf.nn.bias_add(
            tf.nn.conv2d(x, weights(1, 1, 4, 2), 1, "SAME", name="alone"), weights(2), name="alone/bias"
        )
        read_twice = tf.nn.conv2d(x, weights(1, 1, 4, 2), 1, "SAME", name="twice")
        biased = tf.nn.bias_add(read_twice, weights(2))
        moving = tf.nn.bias_add(
            tf.nn.conv2d(x, weights(1, 1, 4, 2), 1, "SAME", name="moving"), tf.reduce_mean(x, [0, 1, 2])[:2]
        )
        tf.add_n([alone, read_twice, biased, moving], name="out")

    layers = {layer.name: layer for layer in find_layers(load(graph_def(build)))[0]}
    assert {name: layer.bias for name, layer in layers.items()} == {
        "alone": "alone/bias",
        "twice": None,
        "moving": None,
    }
    graph = load(graph_def(build), outputs=["out", "alone"])
    assert {layer.name: layer.bias for layer in find_layers(graph)[0]}["alone"] is None, "it is a result itself"


def sharing(other="Conv2D", through=True):
    """Two layers on one constant, each through an Identity of its own."""

    def build():
        x = placeholder([None, 4, 4])
        value = weights(4, 4)
        first, second = (tf.identity(value), tf.identity(value)) if through else (value, value)
        y = raw.BatchMatMulV2(x=x, y=first, name="one")
        if other == "MatMul":
            y = tf.matmul(tf.reshape(y, [-1, 4]), second, name="two")
        else:
            y = raw.BatchMatMulV2(x=tf.nn.relu(y), y=second, name="two")
        tf.identity(y, name="out")

    return build


@pytest.mark.parametrize("through", [True, False])
@pytest.mark.parametrize("other", ["BatchMatMulV2", "MatMul"])
def test_layers_that_share_their_weights_have_one_set_of_factors(other, through):
    result = quantize(graph_def(sharing(other, through)), data=numbers(16, 4, 4))
    one, two = result.network.layers
    assert one.weights is two.weights and one.layer.constant == two.layer.constant
    read = {nd.data_inputs(result.fakequant.nodes[name])[1] for name in ("one", "two")}
    assert len(read) == 1
    assert result.report["layers"][0]["weights"] == result.report["layers"][1]["weights"]


def test_one_of_two_that_share_may_stay_in_float():
    result = quantize(graph_def(sharing()), 'skip_layers : "two"', numbers(16, 4, 4))
    assert [layer.layer.name for layer in result.network.layers] == ["one"]
    original = result.original.constant(nd.data_inputs(result.original.nodes["two"])[1])
    kept = result.fakequant.constant(nd.data_inputs(result.fakequant.nodes["two"])[1])
    changed = result.fakequant.constant(nd.data_inputs(result.fakequant.nodes["one"])[1])
    assert kept.tobytes() == original.tobytes() != changed.tobytes()


def test_a_convolution_and_its_transpose_on_one_constant_have_one_scale():
    def build():
        value = weights(3, 3, 4, 4)
        y = tf.nn.conv2d(placeholder([2, 6, 6, 4]), value, 1, "SAME", name="there")
        v1.nn.conv2d_transpose(y, value, [2, 6, 6, 4], 1, name="back")

    one, two = quantize(graph_def(build), data=numbers(2, 6, 6, 4)).network.layers
    assert one.weights is two.weights and one.weights.scale.size == 1
    text = 'override_layer_configs { layer_name : "back" calibration_config { nuq_quantize { } } }'
    with pytest.raises(ConfigError, match="shares its weights with 'there'"):
        quantize(graph_def(build), text, data=numbers(2, 6, 6, 4))


def test_a_transposed_convolution_with_groups_stays_in_float():
    def build():
        x = placeholder([2, 4, 4, 6])
        weights = tf.constant(numbers(3, 3, 3, 6, seed=3))  # two groups of 3 input channels, 3 output channels each
        y = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=[2, 8, 8, 6], filter=weights, out_backprop=x, strides=[1, 2, 2, 1], padding="SAME", name="up"
        )
        tf.identity(tf.nn.conv2d(tf.nn.bias_add(y, numbers(6)), numbers(1, 1, 6, 2, seed=5), 1, "SAME"), name="out")

    graph = load(graph_def(build))
    layers, rejected = find_layers(graph)
    assert [layer.type for layer in layers] == ["Conv2D"]
    assert [(entry.name, entry.reason) for entry in rejected] == [
        ("up", "is a transposed convolution with groups, which is not supported")
    ]
    with skipped_without_the_operation():
        assert quantize(graph, data={"x": numbers(2, 4, 4, 6)}, export=["ascend", "tflite"]).network.layers
