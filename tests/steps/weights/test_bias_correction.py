"""Corrected biases bring back the mean of every layer's output, whatever the layer."""

import re

import numpy as np
import pytest

import calibrant
from calibrant.algorithms.patch_mean import PatchMean
from calibrant.emit.fakequant import put_weights
from calibrant.errors import ModelError
from calibrant.graph import nodes as nd
from calibrant.graph.layers import find_layers
from calibrant.graph.running.run import run_once
from calibrant.steps.weights.bias_correction import patch_geometry, with_biases
from fold.sketch import Sketch
from graphs import graph_def, numbers, placeholder, tf

COARSE = "batch_num : 3  common_config { arq_quantize { channel_wise : false  quant_bits : 6 } }"
LAYERS = {
    "same, stride 2": {"strides": [1, 2, 2, 1]},
    "valid": {"padding": "VALID"},
    "explicit": {"padding": "EXPLICIT", "explicit_paddings": [0, 0, 2, 1, 0, 3, 0, 0]},
    "dilated": {"dilations": [1, 2, 2, 1]},
    "depthwise": {"op": "DepthwiseConv2dNative", "channels": (3, 6)},
    "depthwise, stride 2": {"op": "DepthwiseConv2dNative", "channels": (3, 3), "strides": [1, 2, 2, 1]},
    "transposed, valid": {"op": "Conv2DBackpropInput", "strides": [1, 2, 2, 1], "padding": "VALID"},
    "transposed, same": {"op": "Conv2DBackpropInput", "strides": [1, 2, 2, 1]},
    "3-D": {"op": "Conv3D", "data_format": "NDHWC"},
}


def one_layer(options):
    sketch = Sketch()
    options = dict(options)
    if options.get("op") == "Conv3D":
        return sketch.graph(sketch.conv(sketch.input(4, 5, 6, 3), **options))
    if options.get("op") == "Conv2DBackpropInput":
        size = {"VALID": (15, 13), "SAME": (13, 12)}[options.get("padding", "SAME")]
        x = sketch.input(7, 6, 3)
        sizes = sketch.constant("sizes", (2, *size, 4), np.int32)
        weights = sketch.constant("weights", sketch.values(3, 3, 4, 3))
        attributes = {"padding": "SAME", **{key: value for key, value in options.items() if key != "op"}}
        return sketch.graph(sketch.node("Conv2DBackpropInput", "conv", sizes, weights, x, **attributes))
    return sketch.graph(sketch.conv(sketch.input(9, 8, 3), **options))


def batches_for(graph, count=3, size=2, seed=4):
    shape = [step or size for step in graph.shape(graph.inputs[0])]
    random = np.random.default_rng(seed)
    return [random.normal(1, 1, shape).astype(np.float32) for _ in range(count)]


def with_float_activations(result):
    """The network with quantized weights and corrected biases, and nothing else changed."""
    edit = result.network.graph.edit()
    for layer in result.network.layers:
        put_weights(edit, layer, layer.weights.dequantize(), {})
        edit.set_input(layer.layer.bias, 1, edit.add_constant(f"{layer.layer.name}/corrected", layer.bias))
    return edit.finish()


def mean_output(graph, batches):
    key = graph.input_keys[0]
    outputs = np.stack([run_once(graph, {key: batch})[0] for batch in batches]).astype(np.float64)
    return outputs.mean(axis=tuple(range(outputs.ndim - 1)))


@pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)
def test_the_mean_of_the_outputs_is_that_of_the_float_layer(options):
    graph = one_layer(options)
    batches = batches_for(graph)
    result = calibrant.quantize(graph, COARSE, batches)
    (layer,) = result.network.layers
    expected = mean_output(graph, batches)
    assert np.abs(layer.bias_correction).max() > 1e-4 * np.abs(expected).max(), "quantization changed nothing"
    np.testing.assert_allclose(mean_output(with_float_activations(result), batches), expected, atol=2e-5)


def test_a_matrix_product_that_is_the_output_gets_a_bias_and_keeps_its_name():
    sketch = Sketch()
    graph = sketch.graph(sketch.matmul(sketch.input(3)))
    batches = batches_for(graph, size=8)
    result = calibrant.quantize(graph, COARSE, batches)
    assert result.fakequant.outputs == graph.outputs == ("dense:0",)
    assert result.fakequant.output_keys == graph.output_keys
    assert result.fakequant.nodes["dense"].op == "BiasAdd"
    assert [layer.layer.name for layer in result.network.layers] == ["dense"]
    np.testing.assert_allclose(
        mean_output(with_float_activations(result), batches), mean_output(graph, batches), atol=1e-6
    )


def test_without_bias_correction_the_graph_keeps_its_nodes():
    graph = one_layer({})
    result = calibrant.quantize(graph, COARSE, batches_for(graph), bias_correction=False)
    assert "BiasAdd" not in {node.op for node in result.fakequant.nodes.values()}
    (layer,) = result.network.layers
    assert layer.bias is None and layer.bias_correction is None


def test_all_readers_of_a_layer_read_its_new_bias():
    sketch = Sketch()
    conv = sketch.conv(sketch.input(5, 5, 3))
    both = sketch.node("AddV2", "sum", sketch.node("Relu", "relu", conv), conv)
    graph = sketch.graph(both)
    layers = {layer.name: layer for layer in find_layers(graph)[0]}
    changed, changed_layers = with_biases(graph, layers, list(layers))
    assert changed_layers["conv"].bias == "conv/bias"
    assert [node.name for node, _ in changed.consumers("conv:0")] == ["conv/bias"]
    assert {node.name for node, _ in changed.consumers("conv/bias:0")} == {"relu", "sum"}
    x = {graph.input_keys[0]: batches_for(graph)[0]}
    np.testing.assert_array_equal(run_once(changed, x)[0], run_once(graph, x)[0])
    assert "conv/bias" not in graph.nodes, "the given graph was changed"


def test_order_of_batches_does_not_change_a_bit():
    graph = one_layer({})
    batches = batches_for(graph)
    forward, backward = (calibrant.quantize(graph, COARSE, order) for order in (batches, batches[::-1]))
    assert forward.fakequant.graph_def() == backward.fakequant.graph_def()


def test_channels_first_reads_the_attributes_of_its_own_axes():
    sketch = Sketch()
    strides, dilations = [1, 1, 2, 3], [1, 1, 1, 2]
    conv = sketch.conv(sketch.input(3, 9, 8), data_format="NCHW", strides=strides, dilations=dilations)
    graph = sketch.graph(conv)
    (layer,), _ = find_layers(graph)
    geometry = patch_geometry(graph, layer)
    assert (geometry.channel_axis, geometry.spatial_axes) == (1, (2, 3))
    assert [(window.stride, window.dilation) for window in geometry.windows] == [(2, 1), (3, 2)]
    changed, _ = with_biases(graph, {layer.name: layer}, [layer.name])
    assert nd.attribute(changed.nodes["conv/bias"], "data_format") == "NCHW"


def test_layers_that_read_one_tensor_alike_share_an_accumulator():
    sketch = Sketch()
    x = sketch.input(3)
    graph = sketch.graph(sketch.node("AddV2", "sum", sketch.matmul(x, "first"), sketch.matmul(x, "second")))
    first, second = (PatchMean(patch_geometry(graph, layer)) for layer in find_layers(graph)[0])
    assert first == second


def test_a_last_layer_that_cannot_run():
    def build():
        tf.matmul(tf.constant(numbers(4, 3)), placeholder([None, 4]), name="product")  # for 3 rows, not for 2

    with pytest.raises(ModelError, match=r"In\[0\]: \[2,4\], In\[1\]: \[3,4\]"):
        calibrant.quantize(graph_def(build), data={"x": numbers(6, 4)}, batch_size=2, refine=False)


SPECTRA = np.exp(np.random.default_rng(0).normal(size=(64, 20, 33)) * 1.5 - 1).astype(np.float32)


def test_numbers_that_are_none_once_quantized_are_told(tmp_path):
    silent = np.concatenate([SPECTRA[:1] * np.float32(1e-6), SPECTRA[1:]])

    def build():
        x = tf.reshape(placeholder([None, 20, 33], name="spec"), [-1, 660])
        y = tf.matmul(x, tf.constant(np.abs(numbers(660, 16, seed=2))), name="mel")
        other = tf.matmul(x, tf.constant(numbers(660, 16, seed=4)), name="other")
        tf.add(tf.math.log(y, name="log"), other, name="last")

    result = calibrant.quantize(graph_def(build), "batch_num : 4", silent, tmp_path, bias_correction=False)
    [warning] = [each for each in result.report["warnings"] if "NaN" in each]
    assert re.match("output 'last' is NaN or infinite on 1 of 32 calibration samples for which the float", warning)
    assert "Log 'log' has no finite result for what it reads" in warning
    assert warning.endswith('in float it is as before: skip_layers : "mel"')
    repaired = 'batch_num : 4 skip_layers : "mel"'
    result = calibrant.quantize(graph_def(build), repaired, silent, tmp_path / "repaired", bias_correction=False)
    assert not result.output_sqnr.undefined
