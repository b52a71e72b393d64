"""A norm in front of a layer: exact where no padding stands between its addend and the weights."""

import numpy as np
import pytest
from sketch import Sketch, difference, ops

from calibrant import quantize
from calibrant.fold import fold


def network(op="Conv2D", norm="fused", data_format="NHWC", channels=(3, 4), shape=(6, 6, 3), bias=False, **options):
    sketch = Sketch()
    data = sketch.node("Relu", "relu", sketch.input(*shape))
    if norm == "fused":
        data = sketch.fused_norm(data, channels=channels[0], data_format=data_format)
    else:
        data = sketch.decomposed_batch_norm(data, shape=norm)
    if op == "MatMul":
        data = sketch.matmul(data, "layer", channels)
    else:
        data = sketch.conv(data, "layer", channels, data_format, op, **{"padding": "VALID", **options})
    data = sketch.bias_add(data, channels=channels[1], data_format=data_format) if bias else data
    return sketch.graph(sketch.node("Relu", "out", data))


NETWORKS = {
    "convolution": {},
    "with a bias": {"bias": True},
    "channels first": {"shape": (3, 6, 6), "data_format": "NCHW"},
    "written out": {"norm": (3,)},
    "written out, channels first": {"norm": (1, 3, 1, 1), "shape": (3, 6, 6), "data_format": "NCHW"},
    "depthwise": {"op": "DepthwiseConv2dNative", "channels": (3, 6), "bias": True},
    "depthwise without bias": {"op": "DepthwiseConv2dNative", "channels": (3, 6)},
    "explicit without padding": {"padding": "EXPLICIT", "explicit_paddings": [0] * 8},
    "dense": {"op": "MatMul", "norm": (3,), "shape": (3,)},
    "dense with a bias": {"op": "MatMul", "norm": (3,), "shape": (3,), "bias": True},
}


@pytest.mark.parametrize("what", NETWORKS)
def test_weights_and_bias_take_the_norm_in(what):
    options = NETWORKS[what]
    graph = network(**options)
    folded = fold(graph)
    assert ops(folded.graph) == ["Relu", options.get("op", "Conv2D"), "BiasAdd", "Relu"]
    assert difference(graph, folded.graph) < 1e-6
    (fusion,) = folded.fusions
    assert (fusion.kind, fusion.layer, fusion.before_layer) == ("batch norm in front", "layer", True)
    assert folded.left == ()


def test_a_bias_along_the_last_axis_is_not_changed():
    sketch = Sketch()
    data = sketch.fused_norm(sketch.node("Relu", "relu", sketch.input(3, 6, 6)), channels=3, data_format="NCHW")
    data = sketch.conv(data, "layer", (3, 4), "NCHW", padding="VALID")
    graph = sketch.graph(sketch.node("Relu", "out", sketch.bias_add(data, channels=4, data_format="NHWC")))
    folded = fold(graph)
    assert difference(graph, folded.graph) < 1e-6
    assert ops(folded.graph) == ["Relu", "Conv2D", "BiasAdd", "BiasAdd", "Relu"]


def test_a_volume():
    graph = network("Conv3D", shape=(4, 4, 4, 3), data_format="NDHWC", norm=(3,))
    folded = fold(graph)
    assert ops(folded.graph) == ["Relu", "Conv3D", "BiasAdd", "Relu"] and difference(graph, folded.graph) < 1e-6


def test_a_convolution_in_groups_has_its_own_part_for_each():
    sketch = Sketch()
    weights = sketch.constant("weights", sketch.values(3, 3, 2, 4))
    data = sketch.fused_norm(sketch.node("Relu", "relu", sketch.input(6, 6, 4)))
    graph = sketch.graph(sketch.node("Relu", "out", sketch.conv(data, weights=weights, padding="VALID")))
    folded = fold(graph)
    assert ops(folded.graph) == ["Relu", "Conv2D", "BiasAdd", "Relu"] and difference(graph, folded.graph) < 1e-6


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_dense_layers_behind_a_flattening_reshape(data_format):
    sketch = Sketch()
    shape = (2, 5, 3) if data_format == "NHWC" else (3, 2, 5)
    norm = (3,) if data_format == "NHWC" else (3, 1, 1)
    data = sketch.decomposed_batch_norm(sketch.node("Relu", "relu", sketch.input(*shape)), shape=norm)
    rows = sketch.node("Reshape", "rows", data, sketch.constant("shape", [-1, 30], np.int32))
    one, two = sketch.matmul(rows, "one", (30, 4)), sketch.matmul(rows, "two", (30, 4))
    graph = sketch.graph(sketch.node("Relu", "out", sketch.node("AddV2", "sum", one, two)))
    folded = fold(graph).graph
    if data_format == "NHWC":
        assert "Mul" in ops(folded)  # the Reshape has two readers
    graph = sketch.graph(sketch.node("Relu", "alone", sketch.node("Identity", "first", one)))
    folded = fold(graph).graph
    assert ops(folded) == ["Relu", "Reshape", "MatMul", "BiasAdd", "Relu"]
    assert difference(graph, folded) < 1e-6


def test_all_readers_take_it_in():
    sketch = Sketch()
    data = sketch.fused_norm(sketch.node("Relu", "relu", sketch.input(6, 6, 3)), channels=3)
    one, two = (sketch.conv(data, name, padding="VALID") for name in ("one", "two"))
    graph = sketch.graph(sketch.node("Relu", "out", sketch.node("AddV2", "sum", one, two)))
    folded = fold(graph)
    assert ops(folded.graph) == ["Relu", "Conv2D", "BiasAdd", "Conv2D", "BiasAdd", "AddV2", "Relu"]
    assert difference(graph, folded.graph) < 1e-6
    assert [fusion.layer for fusion in folded.fusions] == ["one", "two"]


def test_a_rescaling_of_single_numbers():
    sketch = Sketch()
    data = sketch.node("Mul", "scaled", sketch.input(6, 6, 3), sketch.constant("factor", 1 / 127.5))
    data = sketch.node("Sub", "moved", data, sketch.constant("one", 1.0))
    graph = sketch.graph(sketch.node("Relu", "out", sketch.conv(data, padding="VALID")))
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", "BiasAdd", "Relu"] and difference(graph, folded.graph) < 1e-6


def test_a_single_pixel_needs_no_padding():
    sketch = Sketch()
    data = sketch.fused_norm(sketch.node("Relu", "relu", sketch.input(6, 6, 3)), channels=3)
    weights = sketch.constant("weights", sketch.values(1, 1, 3, 4))
    graph = sketch.graph(sketch.node("Relu", "out", sketch.conv(data, weights=weights)))
    folded = fold(graph)
    assert ops(folded.graph) == ["Relu", "Conv2D", "BiasAdd", "Relu"] and difference(graph, folded.graph) < 1e-6


def padded():
    return network(padding="SAME")


def apart():
    sketch = Sketch()
    data = sketch.node("Mul", "norm", sketch.node("Relu", "relu", sketch.input(3)), sketch.constant("a", [1, 1e4, 1]))
    data = sketch.node("AddV2", "shift", data, sketch.constant("b", [1.0, 2, 3]))
    return sketch.graph(sketch.node("Relu", "out", sketch.matmul(data)))


def read_twice():
    sketch = Sketch()
    data = sketch.fused_norm(sketch.node("Relu", "relu", sketch.input(6, 6, 4)))
    both = sketch.node("AddV2", "sum", sketch.conv(data, "layer", (4, 4), padding="SAME"), data)
    return sketch.graph(sketch.node("Relu", "out", both))


LEFT = {
    padded: "'layer' (Conv2D) behind it pads with zeros, to which the norm would not add",
    apart: "its factors are too far apart to be in the weights: 1 and 1e+04",
    read_twice: "it follows no layer, and 'sum' behind it is none either",
}


@pytest.mark.parametrize("build", LEFT)
def test_what_would_not_be_exact_stays(build):
    graph = build()
    folded = fold(graph)
    assert folded.graph is graph
    assert folded.left == (("norm", LEFT[build]),)


def test_a_factor_alone_goes_through_padding():
    sketch = Sketch()
    factor = sketch.constant("factor", sketch.values(3))
    data = sketch.node("Mul", "norm", sketch.node("Relu", "relu", sketch.input(6, 6, 3)), factor)
    graph = sketch.graph(sketch.node("Relu", "out", sketch.conv(data)))
    folded = fold(graph)
    assert ops(folded.graph) == ["Relu", "Conv2D", "Relu"] and difference(graph, folded.graph) < 1e-6


def test_skipping():
    graph = network()
    for name in ("layer", "norm"):
        assert fold(graph, skip_fusion_layers=[name]).graph is graph


def test_a_layer_that_is_an_output_gets_a_bias_that_is_the_output():
    sketch = Sketch()
    data = sketch.fused_norm(sketch.node("Relu", "relu", sketch.input(6, 6, 4)))
    graph = sketch.graph(sketch.conv(data, "layer", (4, 4), padding="VALID"))
    folded = fold(graph).graph
    assert ops(folded) == ["Relu", "Conv2D", "BiasAdd"] and folded.outputs == ("layer/bias:0",)
    assert difference(graph, folded) < 1e-6
    result = quantize(graph, data={"x": np.random.default_rng(0).normal(size=(4, 6, 6, 4)).astype(np.float32)})
    assert result.fakequant.outputs == ("layer:0",) and result.fakequant.nodes["layer"].op == "BiasAdd"
