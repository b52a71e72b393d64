import numpy as np
import pytest
from sketch import Sketch, computing, difference, ops
from tensorflow.python.framework import dtypes

from calibrant.fold import fold


def dense_and_norm(shape, data_format="NHWC", inner=False, outer=False):
    sketch = Sketch()
    data = sketch.matmul(sketch.input(3))
    if inner:
        data = sketch.bias_add(data, "inner")
    data = sketch.node("Reshape", "to", data, sketch.constant("shape", shape, np.int32), Tshape=dtypes.int32)
    if outer:
        data = sketch.bias_add(data, "outer", data_format=data_format)
    data = sketch.fused_norm(data, data_format=data_format)
    back = sketch.constant("back/shape", [-1, 4], np.int32)
    return sketch.graph(sketch.node("Reshape", "back", data, back, Tshape=dtypes.int32))


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("outer", [False, True])
@pytest.mark.parametrize(
    "shape, data_format",
    [([-1, 1, 1, 4], "NHWC"), ([-1, 4, 1, 1], "NCHW"), ([1, -1, 1, 4], "NHWC"), ([1, 1, -1, 4], "NHWC")],
)
def test_matmul_reshape_norm_reshape(shape, data_format, inner, outer):
    graph = dense_and_norm(shape, data_format, inner, outer)
    folded = fold(graph)
    assert ops(folded.graph) == ["MatMul", "BiasAdd", "Reshape", "Reshape"]
    assert difference(graph, folded.graph) < 1e-6
    assert (folded.fusions[-1].kind, folded.fusions[-1].layer) == ("batch norm behind a Reshape", "dense")


@pytest.mark.parametrize("shape, channels", [([-1, 2, 1, 2], 2), ([-1, 1, 1, 8], 8)])
def test_a_reshape_that_mixes_channels_keeps_the_norm(shape, channels):
    sketch = Sketch()
    shape = sketch.constant("shape", shape, np.int32)
    data = sketch.node("Reshape", "to", sketch.matmul(sketch.input(3)), shape, Tshape=dtypes.int32)
    folded = fold(sketch.graph(sketch.fused_norm(data, channels=channels)))
    assert folded.fusions == () and [node for node, _ in folded.left] == ["norm"]


def test_channels_on_the_other_axis_keep_the_norm():
    folded = fold(dense_and_norm([-1, 4, 1, 1], "NCHW"), skip_fusion_layers=["norm"])
    assert folded.fusions == () and [node for node, _ in folded.left] == ["norm"]
    sketch = Sketch()
    shape = sketch.constant("shape", [-1, 1, 4, 1], np.int32)
    data = sketch.node("Reshape", "to", sketch.matmul(sketch.input(3)), shape, Tshape=dtypes.int32)
    assert fold(sketch.graph(sketch.fused_norm(data, channels=1))).fusions == ()


def test_matmul_and_written_norm():
    sketch = Sketch()
    graph = sketch.graph(sketch.decomposed_batch_norm(sketch.bias_add(sketch.matmul(sketch.input(3)))))
    folded = fold(graph)
    assert ops(folded.graph) == ["MatMul", "BiasAdd"]
    assert difference(graph, folded.graph) < 1e-6


@pytest.mark.parametrize("op", ["BatchMatMulV2", "BatchMatMulV3"])
def test_batched_matmul_with_constant_weights(op):
    sketch = Sketch()
    data, weights = sketch.input(5, 3), sketch.constant("weights", sketch.values(3, 4))
    types = {"Ta": dtypes.float32, "Tb": dtypes.float32, "Tout": dtypes.float32} if op == "BatchMatMulV3" else {}
    sketch.node(op, "dense", data, weights, **types)
    if types:
        del sketch.nodes[-1].attr["T"]
    graph = sketch.graph(sketch.decomposed_batch_norm(sketch.bias_add("dense"), shape=(1, 1, 4)))
    folded = fold(graph)
    assert ops(folded.graph) == [op, "BiasAdd"]
    if op == "BatchMatMulV2":
        assert difference(graph, folded.graph) < 1e-6


def test_a_transposed_matmul_is_left_alone():
    sketch = Sketch()
    data = sketch.matmul(
        sketch.node("Reshape", "rows", sketch.input(4), sketch.constant("shape", [3, -1], np.int32)), transpose_a=True
    )
    graph = sketch.graph(sketch.decomposed_batch_norm(data))
    folded = fold(graph)
    assert computing(folded.graph) == computing(graph)
    assert folded.left == (("norm/mul_1", "'dense' (MatMul) in front of it is left alone: transpose_a is true"),)


@pytest.mark.parametrize("axes", [[1], [-3]])
def test_one_dimensional_convolution(axes):
    sketch = Sketch()
    data = sketch.conv(sketch.input(1, 8, 3))
    data = sketch.node("Squeeze", "squeeze", data, squeeze_dims=axes)
    graph = sketch.graph(sketch.decomposed_batch_norm(sketch.bias_add(data)))
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", "BiasAdd", "Squeeze"]
    assert difference(graph, folded.graph) < 1e-6


def test_a_bias_behind_a_squeeze():
    sketch = Sketch()
    data = sketch.node("Squeeze", "squeeze", sketch.conv(sketch.input(1, 8, 3)), squeeze_dims=[1])
    graph = sketch.graph(sketch.node("Relu", "relu", sketch.bias_add(data)))
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", "BiasAdd", "Squeeze", "Relu"]
    assert difference(graph, folded.graph) < 1e-6
    assert [(fusion.kind, fusion.absorbed) for fusion in folded.fusions] == [("bias behind a Squeeze", ("bias",))]


def test_a_bias_behind_the_reshape_of_a_dense_layer():
    sketch = Sketch()
    shape = sketch.constant("shape", [-1, 2, 4], np.int32)
    data = sketch.node("Reshape", "to", sketch.matmul(sketch.input(3)), shape, Tshape=dtypes.int32)
    graph = sketch.graph(sketch.bias_add(data, "outer"))
    folded = fold(graph)
    assert ops(folded.graph) == ["MatMul", "BiasAdd", "Reshape"]
    assert difference(graph, folded.graph) < 1e-6
    assert folded.graph.outputs == graph.outputs


def test_a_squeeze_of_unnamed_axes_is_left_alone():
    sketch = Sketch()
    data = sketch.node("Squeeze", "squeeze", sketch.conv(sketch.input(1, 8, 3)))
    assert fold(sketch.graph(sketch.decomposed_batch_norm(data))).fusions == ()
