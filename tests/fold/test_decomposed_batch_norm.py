import numpy as np
import pytest
from sketch import Sketch, computing, difference, ops

from calibrant.fold import Fusion, fold

INPUT = {"NHWC": (6, 6, 3), "NCHW": (3, 6, 6)}
PER_CHANNEL = {"NHWC": [(4,), (1, 1, 1, 4)], "NCHW": [(4, 1, 1), (1, 4, 1, 1)]}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("data_format, shape", [(key, shape) for key in INPUT for shape in PER_CHANNEL[key]])
def test_keras(data_format, shape, scale, center, bias):
    sketch = Sketch()
    data = sketch.conv(sketch.input(*INPUT[data_format]), data_format=data_format)
    if bias:
        data = sketch.bias_add(data, data_format=data_format)
    graph = sketch.graph(sketch.decomposed_batch_norm(data, "norm", shape, scale, center))
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", "BiasAdd"]
    assert difference(graph, folded.graph) < 1e-6
    absorbed = ("norm/mul_1", "norm")
    assert folded.fusions == (Fusion("written-out batch norm", "conv", ("bias", *absorbed) if bias else absorbed),)
    assert folded.left == ()


FORMS = {
    "x·a + b": [("Mul", "x", "a"), ("AddV2", "x", "b")],
    "a·x + b": [("Mul", "a", "x"), ("AddV2", "x", "b")],
    "b + x·a": [("Mul", "x", "a"), ("Add", "b", "x")],
    "x·a − b": [("Mul", "x", "a"), ("Sub", "x", "b")],
    "x·a": [("Mul", "x", "a")],
    "(x − m)·a + b": [("Sub", "x", "m"), ("Mul", "x", "a"), ("AddV2", "x", "b")],
    "(x − m)/a·m + b": [("Sub", "x", "m"), ("RealDiv", "x", "a"), ("Mul", "m", "x"), ("AddV2", "x", "b")],
    "(x − m)·a": [("Sub", "x", "m"), ("Mul", "x", "a")],
}


def written(form, shape=(4,), bias=False):
    sketch = Sketch()
    data = sketch.conv(sketch.input(6, 6, 3))
    if bias:
        data = sketch.bias_add(data)
    constants = {name: sketch.constant(name, sketch.values(*shape)) for name in "amb"}
    for number, (op, *operands) in enumerate(FORMS[form]):
        data = sketch.node(op, f"step{number}", *(data if name == "x" else constants[name] for name in operands))
    return sketch.graph(data)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_the_forms_that_a_norm_has(form, bias):
    graph = written(form, bias=bias)
    folded = fold(graph)
    has_shift = bias or len(FORMS[form]) > 1
    assert ops(folded.graph) == ["Conv2D", "BiasAdd"][: 1 + has_shift]
    assert difference(graph, folded.graph) < 1e-6
    (fusion,) = folded.fusions
    steps = tuple(f"step{number}" for number in range(len(FORMS[form])))
    assert fusion == Fusion("written-out batch norm", "conv", (("bias", *steps) if bias else steps))


def test_one_channel():
    sketch = Sketch()
    data = sketch.conv(sketch.input(6, 6, 3), channels=(3, 1))
    graph = sketch.graph(sketch.decomposed_batch_norm(data, shape=(1,)))
    folded = fold(graph)
    assert [fusion.kind for fusion in folded.fusions] == ["written-out batch norm"]
    assert ops(folded.graph) == ["Conv2D", "BiasAdd"]
    assert difference(graph, folded.graph) < 1e-6


@pytest.mark.parametrize("shape", [(6, 1), (6, 6, 4), (2, 1, 1, 1), (1, 1, 1, 1, 4)])
def test_constants_that_are_not_per_channel_stay(shape):
    sketch = Sketch()
    data = sketch.conv(sketch.input(6, 6, 3))
    graph = sketch.graph(sketch.node("Mul", "product", data, sketch.constant("a", sketch.values(*shape))))
    assert computing(fold(graph).graph) == computing(graph)


def test_a_norm_over_rows_of_an_image_stays():
    sketch = Sketch()
    data = sketch.conv(sketch.input(4, 6, 3))
    graph = sketch.graph(sketch.decomposed_batch_norm(data, shape=(4, 1, 1)))
    assert computing(fold(graph).graph) == computing(graph)


def test_without_a_layer_it_is_named_and_left_alone():
    sketch = Sketch()
    data = sketch.node("Relu", "relu", sketch.conv(sketch.input(6, 6, 3)))
    graph = sketch.graph(sketch.decomposed_batch_norm(data))
    folded = fold(graph)
    assert computing(folded.graph) == computing(graph)
    assert folded.left == (("norm/mul_1", "'relu' (Relu) stands between it and the layer 'conv'"),)


def test_a_layer_with_another_reader_is_named_and_left_alone():
    sketch = Sketch()
    conv = sketch.conv(sketch.input(6, 6, 3))
    graph = sketch.graph(sketch.decomposed_batch_norm(conv), sketch.node("Relu", "relu", conv))
    folded = fold(graph)
    assert computing(folded.graph) == computing(graph)
    assert folded.left == (("norm/mul_1", "'conv' in front of it is also read by 'relu'"),)


def test_a_layer_norm_is_not_taken_for_a_batch_norm():
    sketch = Sketch()
    dense = sketch.matmul(sketch.input(3))
    from tensorflow.python.framework import dtypes

    axes = sketch.constant("axes", [-1], np.int32)
    mean = sketch.node("Mean", "mean", dense, axes, keep_dims=True, Tidx=dtypes.int32)
    apart = sketch.node("Sub", "apart", dense, mean)
    sketch.node("Mul", "product", apart, sketch.constant("gamma", sketch.values(4)))
    graph = sketch.graph(sketch.node("AddV2", "norm", "product", sketch.constant("beta", sketch.values(4))))
    folded = fold(graph)
    assert folded.graph is graph and [node for node, _ in folded.left] == ["product"]


def test_half_precision():
    sketch = Sketch(dtype=np.float16)
    graph = sketch.graph(sketch.decomposed_batch_norm(sketch.conv(sketch.input(6, 6, 3))))
    folded = fold(graph).graph
    assert ops(folded) == ["Conv2D", "BiasAdd"] and folded.constant("conv/weights_folded:0").dtype == np.float16
    assert difference(graph, folded) < 1e-2
