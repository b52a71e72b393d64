import numpy as np
import pytest
from sketch import Sketch, difference, ops

from calibrant.fold import Fusion, fold
from calibrant.graph.layers import find_layers

INPUT = {"NHWC": (6, 6, 3), "NCHW": (3, 6, 6)}
SHAPES = [
    ("NHWC", (4,)),
    ("NHWC", (1, 1, 1, 4)),
    ("NHWC", ()),
    ("NHWC", (1,)),
    ("NCHW", (4, 1, 1)),
    ("NCHW", (1, 4, 1, 1)),
    ("NCHW", ()),
]


@pytest.mark.parametrize("op", ["Add", "AddV2"])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("data_format, shape", SHAPES)
def test_an_addition_becomes_the_bias_of_the_layer(data_format, shape, first, op):
    sketch = Sketch()
    data = sketch.conv(sketch.input(*INPUT[data_format]), data_format=data_format)
    constant = sketch.constant("b", sketch.values(*shape))
    sketch.node(op, "sum", *((constant, data) if first else (data, constant)))
    graph = sketch.graph("sum")
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", "BiasAdd"] and folded.graph.nodes["sum"].op == "BiasAdd"
    assert difference(graph, folded.graph) == 0
    assert folded.fusions == (Fusion("bias", "conv", ("sum",)),)
    assert [layer.bias for layer in find_layers(folded.graph)[0]] == ["sum"]
    assert folded.graph.constant_source("conv/weights:0") == "conv/weights/value"


def test_matmul():
    sketch = Sketch()
    graph = sketch.graph(
        sketch.node("AddV2", "sum", sketch.matmul(sketch.input(3)), sketch.constant("b", sketch.values(1, 4)))
    )
    folded = fold(graph).graph
    assert ops(folded) == ["MatMul", "BiasAdd"]
    assert difference(graph, folded) == 0


def test_a_bias_that_stands_alone_is_not_touched():
    sketch = Sketch()
    graph = sketch.graph(sketch.bias_add(sketch.conv(sketch.input(6, 6, 3))))
    folded = fold(graph)
    assert folded.graph is graph and folded.fusions == ()


def test_two_biases_become_one():
    sketch = Sketch()
    data = sketch.bias_add(sketch.conv(sketch.input(6, 6, 3)))
    graph = sketch.graph(sketch.node("AddV2", "sum", data, sketch.constant("b", sketch.values(4))))
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", "BiasAdd"]
    assert difference(graph, folded.graph) < 1e-6
    assert folded.fusions == (Fusion("bias", "conv", ("bias", "sum")),)


def test_a_subtraction_is_a_bias_of_the_other_sign():
    sketch = Sketch()
    graph = sketch.graph(
        sketch.node("Sub", "minus", sketch.conv(sketch.input(6, 6, 3)), sketch.constant("b", sketch.values(4)))
    )
    folded = fold(graph).graph
    assert ops(folded) == ["Conv2D", "BiasAdd"]
    assert difference(graph, folded) == 0


@pytest.mark.parametrize("shape", [(6, 4), (1, 6, 6, 4), (2, 1, 1, 1), (1, 1, 1, 1, 4), (6, 1)])
def test_constants_of_another_shape_stay_additions(shape):
    sketch = Sketch()
    graph = sketch.graph(
        sketch.node("AddV2", "sum", sketch.conv(sketch.input(6, 6, 3)), sketch.constant("b", sketch.values(*shape)))
    )
    assert fold(graph).graph is graph


@pytest.mark.parametrize("op, operands", [("AddV2", ("conv", "x")), ("Sub", ("b", "conv"))])
def test_other_additions_stay(op, operands):
    sketch = Sketch()
    sketch.conv(sketch.input(6, 6, 4), channels=(4, 4))
    sketch.constant("b", sketch.values(4))
    graph = sketch.graph(sketch.node(op, "sum", *operands))
    assert fold(graph).graph is graph


def test_an_addition_without_a_layer_stays():
    sketch = Sketch()
    graph = sketch.graph(sketch.node("AddV2", "sum", sketch.input(6, 6, 4), sketch.constant("b", sketch.values(4))))
    assert fold(graph).graph is graph


def test_infinite_numbers_stay():
    sketch = Sketch()
    constant = sketch.constant("b", np.full(4, np.inf))
    graph = sketch.graph(sketch.node("AddV2", "sum", sketch.conv(sketch.input(6, 6, 3)), constant))
    assert fold(graph).graph is graph
