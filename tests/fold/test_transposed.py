import numpy as np
import pytest
from sketch import Sketch, difference, ops
from tensorflow.python.framework import dtypes

from calibrant.fold import fold


def turned(order, shape, data_format="NHWC", outer="written"):
    """A convolution, a Transpose, and a norm behind it."""
    sketch = Sketch()
    data = sketch.input(*((6, 5, 3) if data_format == "NHWC" else (3, 6, 5)))
    data = sketch.conv(data, data_format=data_format)
    data = sketch.node("Transpose", "to", data, sketch.constant("order", order, np.int32), Tperm=dtypes.int32)
    if outer == "written":
        data = sketch.node("Mul", "scaled", data, sketch.constant("scale", sketch.values(*shape, low=0.5, high=2)))
        data = sketch.node("AddV2", "shifted", data, sketch.constant("shift", sketch.values(*shape)))
    elif outer == "bias":
        data = sketch.node("AddV2", "shifted", data, sketch.constant("shift", sketch.values(*shape)))
    else:
        data = sketch.fused_norm(data, data_format=outer)
    return sketch.graph(sketch.node("Relu", "out", data))


@pytest.mark.parametrize(
    "order, shape, data_format",
    [((0, 3, 1, 2), (1, 4, 1, 1), "NHWC"), ((0, 3, 2, 1), (4, 1, 1), "NHWC"), ((0, 2, 1, 3), (1, 1, 1, 4), "NHWC")],
)
@pytest.mark.parametrize("outer", ["written", "bias"])
def test_what_is_behind_a_transposition_goes_into_the_layer(order, shape, data_format, outer):
    graph = turned(order, shape, data_format, outer)
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", "BiasAdd", "Transpose", "Relu"]
    assert difference(graph, folded.graph) < 1e-6
    assert folded.fusions[-1].kind.endswith("behind a Transpose")


def test_a_norm_with_channels_first():
    graph = turned((0, 3, 1, 2), (), outer="NCHW")
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", "BiasAdd", "Transpose", "Relu"]
    assert folded.fusions[-1].kind == "batch norm behind a Transpose"


def test_channels_on_another_axis_keep_the_norm():
    graph = turned((0, 1, 3, 2), (1, 1, 4, 1))
    folded = fold(graph)
    assert not folded.fusions and ops(folded.graph) == ops(graph)


def test_an_axis_that_only_has_as_many_numbers_keeps_the_norm():
    """Height, width and channels of 4 each: one value for each row is none for each channel."""
    sketch = Sketch()
    data = sketch.conv(sketch.input(4, 4, 3))
    order = sketch.constant("order", [0, 3, 1, 2], np.int32)
    data = sketch.node("Transpose", "to", data, order, Tperm=dtypes.int32)
    scale = sketch.constant("scale", sketch.values(1, 1, 4, 1, low=0.5, high=2))
    graph = sketch.graph(sketch.node("Mul", "scaled", data, scale))
    assert not fold(graph).fusions


def test_a_dense_layer_over_time():
    sketch = Sketch()
    rows = sketch.constant("rows", [-1, 3], np.int32)
    data = sketch.matmul(sketch.node("Reshape", "flat", sketch.input(5, 3), rows, Tshape=dtypes.int32))
    steps = sketch.constant("steps", [-1, 5, 4], np.int32)
    data = sketch.node("Reshape", "steps/to", data, steps, Tshape=dtypes.int32)
    order = sketch.constant("order", [0, 2, 1], np.int32)
    data = sketch.node("Transpose", "to", data, order, Tperm=dtypes.int32)
    data = sketch.node("AddV2", "shifted", data, sketch.constant("shift", sketch.values(4, 1)))
    graph = sketch.graph(data)
    folded = fold(graph)
    assert ops(folded.graph) == ["Reshape", "MatMul", "BiasAdd", "Reshape", "Transpose"]
    assert difference(graph, folded.graph) < 1e-6
