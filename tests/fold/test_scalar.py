import pytest
from sketch import Sketch, difference, ops

from calibrant.fold import Fusion, fold

INPUT = {"NHWC": (6, 6, 3), "NCHW": (3, 6, 6)}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 1)])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("data_format", INPUT)
def test_a_number_goes_into_weights_and_bias(data_format, first, shape, bias):
    sketch = Sketch()
    data = sketch.conv(sketch.input(*INPUT[data_format]), data_format=data_format)
    if bias:
        data = sketch.bias_add(data, data_format=data_format)
    number = sketch.constant("number", sketch.values(*shape) + 2)
    product = sketch.node("Mul", "product", *((number, data) if first else (data, number)))
    graph = sketch.graph(sketch.node("Relu", "relu", product))
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", *(["BiasAdd"] if bias else []), "Relu"]
    assert difference(graph, folded.graph) < 1e-6
    assert folded.fusions == (Fusion("scalar multiplication", "conv", ("bias", "product") if bias else ("product",)),)


def test_a_division():
    sketch = Sketch()
    data = sketch.bias_add(sketch.conv(sketch.input(6, 6, 3)))
    graph = sketch.graph(sketch.node("RealDiv", "quotient", data, sketch.constant("number", 3.0)))
    folded = fold(graph).graph
    assert ops(folded) == ["Conv2D", "BiasAdd"]
    assert difference(graph, folded) < 1e-6


@pytest.mark.parametrize("op, operands", [("RealDiv", ("number", "conv")), ("RealDiv", ("conv", "zero"))])
def test_divisions_that_are_no_factor_stay(op, operands):
    sketch = Sketch()
    sketch.conv(sketch.input(6, 6, 3))
    sketch.constant("number", 3.0)
    sketch.constant("zero", 0.0)
    graph = sketch.graph(sketch.node(op, "quotient", *operands))
    assert fold(graph).graph is graph


def test_a_product_that_is_an_output_keeps_its_name():
    sketch = Sketch()
    sketch.node("Mul", "product", sketch.conv(sketch.input(6, 6, 3)), sketch.constant("number", 3.0))
    graph = sketch.graph("product")
    folded = fold(graph).graph
    assert ops(folded) == ["Conv2D"] and folded.nodes["product"].op == "Identity"
    assert difference(graph, folded) < 1e-6


def test_a_product_with_several_readers():
    sketch = Sketch()
    product = sketch.node("Mul", "product", sketch.conv(sketch.input(6, 6, 3)), sketch.constant("number", 3.0))
    sketch.node("AddV2", "sum", product, sketch.node("Relu", "relu", product))
    graph = sketch.graph("sum")
    folded = fold(graph).graph
    assert ops(folded) == ["Conv2D", "Relu", "AddV2"]
    assert difference(graph, folded) < 1e-6


def test_a_number_after_an_activation_stays():
    sketch = Sketch()
    relu = sketch.node("Relu", "relu", sketch.conv(sketch.input(6, 6, 3)))
    graph = sketch.graph(sketch.node("Mul", "product", relu, sketch.constant("number", 3.0)))
    assert fold(graph).graph is graph


def test_a_constant_that_adds_an_axis_stays():
    sketch = Sketch()
    number = sketch.constant("number", [[[[[3.0]]]]])
    graph = sketch.graph(sketch.node("Mul", "product", sketch.conv(sketch.input(6, 6, 3)), number))
    assert fold(graph).graph is graph


def test_a_product_of_two_activations_stays():
    sketch = Sketch()
    data = sketch.input(6, 6, 3)
    sketch.node("Mul", "product", sketch.conv(data, "one"), sketch.conv(data, "two"))
    graph = sketch.graph("product")
    assert fold(graph).graph is graph


def test_a_square_stays():
    sketch = Sketch()
    conv = sketch.conv(sketch.input(6, 6, 3))
    graph = sketch.graph(sketch.node("Mul", "square", conv, conv))
    assert fold(graph).graph is graph


def test_matmul():
    sketch = Sketch()
    data = sketch.bias_add(sketch.matmul(sketch.input(3)))
    graph = sketch.graph(sketch.node("Mul", "product", data, sketch.constant("number", 0.25)))
    folded = fold(graph).graph
    assert ops(folded) == ["MatMul", "BiasAdd"]
    assert difference(graph, folded) < 1e-6
