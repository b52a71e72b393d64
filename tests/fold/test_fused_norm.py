import numpy as np
import pytest
from sketch import Sketch, difference, ops

from calibrant.errors import ModelError
from calibrant.fold import Fusion, fold
from calibrant.graph import nodes as nd
from calibrant.graph.running.run import run_once

FORMATS = ["NHWC", "NCHW"]
INPUT = {"NHWC": (6, 6, 3), "NCHW": (3, 6, 6), "NDHWC": (4, 4, 4, 3), "NCDHW": (3, 4, 4, 4)}
CHANNELS = {"Conv2D": (3, 4), "Conv3D": (3, 4), "DepthwiseConv2dNative": (3, 6), "Conv2DBackpropInput": (3, 4)}


def conv_and_norm(op="Conv2D", data_format="NHWC", norm="FusedBatchNormV3", bias=False, **attributes):
    sketch = Sketch()
    out = CHANNELS[op][1]
    data = sketch.conv(sketch.input(*INPUT[data_format]), "conv", CHANNELS[op], data_format, op)
    if bias:
        data = sketch.bias_add(data, "bias", out, "NHWC" if data_format in ("NHWC", "NDHWC") else "NCHW")
    sketch.node("Relu", "relu", sketch.fused_norm(data, "norm", out, data_format, norm, **attributes))
    return sketch.graph("relu")


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("op", ["Conv2D", "DepthwiseConv2dNative"])
@pytest.mark.parametrize("norm", ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"])
def test_convolution_and_norm_become_convolution_and_bias(op, data_format, norm, bias):
    graph = conv_and_norm(op, data_format, norm, bias)
    folded = fold(graph)
    assert ops(folded.graph) == [op, "BiasAdd", "Relu"]
    assert difference(graph, folded.graph) < 1e-6
    assert folded.fusions == (Fusion("batch norm", "conv", ("bias", "norm") if bias else ("norm",)),)
    assert folded.left == ()


@pytest.mark.parametrize("data_format", ["NDHWC", "NCDHW"])
def test_three_dimensions(data_format):
    graph = conv_and_norm("Conv3D", data_format, bias=True)
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv3D", "BiasAdd", "Relu"]
    assert difference(graph, folded.graph) < 1e-6


def test_transposed_convolution():
    graph = conv_and_norm("Conv2DBackpropInput", bias=True)
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2DBackpropInput", "BiasAdd", "Relu"]
    assert difference(graph, folded.graph) < 1e-6


def test_depthwise_channels_are_numbered_input_channel_first():
    graph = conv_and_norm("DepthwiseConv2dNative")
    gamma, variance = graph.constant("norm/gamma:0"), graph.constant("norm/variance:0")
    before = graph.constant("conv/weights:0")
    after = fold(graph).graph.constant("conv/weights_folded:0")
    factor = gamma / np.sqrt(variance.astype(np.float64) + nd.attribute(graph.nodes["norm"], "epsilon"))
    for into in range(3):
        for multiple in range(2):
            expected = before[:, :, into, multiple] * factor[into * 2 + multiple]
            np.testing.assert_allclose(after[:, :, into, multiple], expected, rtol=1e-6)


def test_epsilon_left_out_is_the_default_of_the_operation():
    graph_def = conv_and_norm().graph_def()
    for node in graph_def.node:
        if node.name == "norm":
            del node.attr["epsilon"]
        if node.name == "norm/variance/value":
            node.CopyFrom(nd.constant_node(node.name, np.full(4, 1e-4, np.float32)))
    from calibrant.graph.reading.load import load

    graph = load(graph_def, outputs=["relu"])
    assert difference(graph, fold(graph).graph) < 1e-6


def test_half_precision_stays_half_precision():
    sketch = Sketch(dtype=np.float16)
    sketch.fused_norm(sketch.conv(sketch.input(6, 6, 3)))
    graph = sketch.graph("norm")
    folded = fold(graph).graph
    assert ops(folded) == ["Conv2D", "BiasAdd"]
    assert folded.constant("conv/weights_folded:0").dtype == np.float16
    assert difference(graph, folded) < 5e-3


@pytest.mark.parametrize("seed", range(4))
def test_half_precision_is_folded_about_as_exactly_as_it_computes(seed):
    """Against float32, layer and norm in float16 err by some 5e-4 of the largest output, and so does what is folded."""
    half, single = Sketch(seed, np.float16), Sketch(seed, np.float32)
    for sketch in (half, single):
        sketch.fused_norm(sketch.conv(sketch.input(6, 6, 3)))
    numbers = {node.name: nd.constant_value(node) for node in half.nodes if node.op == "Const"}
    for node in single.nodes:
        if node.op == "Const":
            node.CopyFrom(nd.constant_node(node.name, numbers[node.name].astype(np.float32)))
    batch = np.random.default_rng(seed).normal(size=(8, 6, 6, 3)).astype(np.float16)
    graph = half.graph("norm")
    (exact,) = run_once(single.graph("norm"), {"x": batch.astype(np.float32)})
    errors = [np.abs(run_once(each, {"x": batch})[0] - exact) for each in (graph, fold(graph).graph)]
    before, after = (float(np.sqrt(np.mean(np.square(error)))) for error in errors)
    assert after < 2 * before
    assert errors[1].max() < np.finfo(np.float16).eps * np.abs(exact).max()


@pytest.mark.parametrize(
    ("gamma", "reason"),
    [(1e6, "the folded numbers do not fit float16"), (1e-5, "the folded weights are too small for float16")],
)
def test_numbers_that_half_precision_cannot_hold_are_not_folded(gamma, reason):
    sketch = Sketch(dtype=np.float16)
    norm = sketch.fused_norm(sketch.conv(sketch.input(6, 6, 3)))
    for node in sketch.nodes:
        if node.name == "norm/gamma/value":
            node.CopyFrom(nd.constant_node(node.name, np.full(4, gamma, np.float32)))
    folded = fold(sketch.graph(norm))
    assert "FusedBatchNormV3" in ops(folded.graph) and folded.fusions == ()
    assert folded.left == (("norm", reason),)


def test_an_output_keeps_its_name_and_its_value():
    sketch = Sketch()
    norm = sketch.fused_norm(sketch.conv(sketch.input(6, 6, 3)))
    sketch.node("Relu", "relu", norm)
    graph = sketch.graph("norm", "relu")
    folded = fold(graph).graph
    assert folded.outputs == ("norm:0", "relu:0") and folded.nodes["norm"].op == "BiasAdd"
    assert difference(graph, folded) < 1e-6


def test_several_readers_of_the_norm_read_the_bias():
    sketch = Sketch()
    norm = sketch.fused_norm(sketch.conv(sketch.input(6, 6, 3)))
    sketch.node("AddV2", "sum", sketch.node("Relu", "relu", norm), norm)
    graph = sketch.graph("sum")
    folded = fold(graph).graph
    assert ops(folded) == ["Conv2D", "BiasAdd", "Relu", "AddV2"]
    assert difference(graph, folded) < 1e-6


def test_control_inputs_of_the_norm_are_kept():
    sketch = Sketch()
    read = sketch.input(6, 6, 3)
    sketch.nodes.append(nd.make_node("NoOp", "before", [f"^{nd.node_name(read)}"]))
    norm = sketch.fused_norm(sketch.conv(read))
    sketch.nodes[-1].input.append("^before")
    assert nd.control_inputs(fold(sketch.graph(norm)).graph.nodes["norm"]) == ("before",)


def not_folded(graph, node, reason):
    folded = fold(graph)
    assert folded.fusions == () and list(folded.graph.nodes) == list(graph.nodes)
    assert folded.left == ((node, reason),)


def test_a_convolution_with_another_reader_is_left_alone():
    sketch = Sketch()
    conv = sketch.conv(sketch.input(6, 6, 3))
    sketch.node("AddV2", "sum", sketch.fused_norm(conv), sketch.node("Relu", "relu", conv))
    not_folded(sketch.graph("sum"), "norm", "'conv' in front of it is also read by 'relu'")


def test_a_bias_with_another_reader_is_left_alone():
    sketch = Sketch()
    bias = sketch.bias_add(sketch.conv(sketch.input(6, 6, 3)))
    sketch.node("AddV2", "sum", sketch.fused_norm(bias), bias)
    not_folded(sketch.graph("sum"), "norm", "'bias' in front of it is also read by 'sum'")


@pytest.mark.parametrize("inner", ["conv", "bias"])
def test_an_output_in_front_of_the_norm_is_left_alone(inner):
    sketch = Sketch()
    norm = sketch.fused_norm(sketch.bias_add(sketch.conv(sketch.input(6, 6, 3))))
    folded = fold(sketch.graph(inner, norm))
    assert "FusedBatchNormV3" in ops(folded.graph) and folded.fusions == ()
    if inner == "bias":
        assert folded.left == (("norm", "'bias' in front of it is an output of the model"),)


def test_a_convolution_that_something_waits_for_is_left_alone():
    sketch = Sketch()
    norm = sketch.fused_norm(sketch.conv(sketch.input(6, 6, 3)))
    relu = sketch.node("Relu", "relu", norm)
    sketch.nodes[-1].input.append("^conv")
    not_folded(sketch.graph(relu), "norm", "another operation waits for 'conv' in front of it")


@pytest.mark.parametrize("read", ["as an output", "by a node"])
def test_statistics_that_are_read_keep_the_norm(read):
    sketch = Sketch()
    norm = sketch.fused_norm(sketch.conv(sketch.input(6, 6, 3)))
    if read == "by a node":
        graph = sketch.graph(norm, sketch.node("Relu", "relu", "norm:1"))
    else:
        graph = sketch.graph(norm, "norm:1")
    not_folded(graph, "norm", "its statistics are read")


def test_a_norm_in_training_mode_is_left_alone():
    graph = conv_and_norm()
    edit = graph.edit()
    training = nd.copy_node(graph.nodes["norm"])
    nd.set_attribute(training, "is_training", True)
    edit.put(training)
    not_folded(edit.finish(), "norm", "it is in training mode")


def test_the_norm_of_another_data_format_is_left_alone():
    sketch = Sketch()
    conv = sketch.conv(sketch.input(6, 4, 3), channels=(3, 4))
    not_folded(
        sketch.graph(sketch.fused_norm(conv, channels=6, data_format="NCHW")),
        "norm",
        "its data format NCHW is not that of the layer",
    )


def test_parameters_that_are_fed_keep_the_norm():
    sketch = Sketch()
    norm = sketch.fused_norm(sketch.conv(sketch.input(6, 6, 3)))
    graph = sketch.graph(norm, inputs=["x", "norm/gamma"])
    not_folded(graph, "norm", "its parameters are not constant")


def test_weights_that_are_fed_keep_the_norm():
    sketch = Sketch()
    norm = sketch.fused_norm(sketch.conv(sketch.input(6, 6, 3)))
    reason = "'conv' (Conv2D) in front of it is left alone: its weights are not constant"
    not_folded(sketch.graph(norm, inputs=["x", "conv/weights"]), "norm", reason)


def with_parameters(key, value):
    """A convolution and a norm whose parameter has this value in every channel."""
    sketch = Sketch()
    norm = sketch.fused_norm(sketch.conv(sketch.input(6, 6, 3)))
    for node in sketch.nodes:
        if node.name == f"norm/{key}/value":
            node.CopyFrom(nd.constant_node(node.name, np.full(4, value, np.float32)))
    return sketch, norm


def test_infinite_factors_keep_the_norm():
    sketch, norm = with_parameters("gamma", 3e38)
    for node in sketch.nodes:
        if node.name == "norm/variance/value":
            node.CopyFrom(nd.constant_node(node.name, np.full(4, 1e-4, np.float32)))
    not_folded(sketch.graph(norm), "norm", "its parameters give infinite or undefined factors")


def test_a_negative_variance_is_an_error_at_the_norm():
    sketch, norm = with_parameters("variance", -2.0)
    with pytest.raises(ModelError, match="norm: channel 0 of the norm has the variance -2"):
        sketch.graph(norm)


def test_a_norm_that_follows_no_layer_is_left_alone():
    sketch = Sketch()
    norm = sketch.fused_norm(sketch.node("Relu", "relu", sketch.input(6, 6, 4)))
    not_folded(sketch.graph(norm), "norm", "it follows 'relu' (Relu), not a layer")


def test_shared_weights_change_for_the_folded_layer_only():
    sketch = Sketch()
    data = sketch.input(6, 6, 3)
    weights = sketch.constant("shared", sketch.values(3, 3, 3, 4))
    first = sketch.fused_norm(sketch.conv(data, "first", weights=weights), "norm")
    second = sketch.conv(data, "second", weights=weights)
    graph = sketch.graph(sketch.node("AddV2", "sum", first, second))
    folded = fold(graph).graph
    assert folded.constant_source(folded.nodes["second"].input[1]) == "shared/value"
    np.testing.assert_array_equal(folded.constant("shared/value"), graph.constant("shared/value"))
    assert difference(graph, folded) < 1e-6


def test_shared_weights_with_two_norms():
    sketch = Sketch()
    data = sketch.input(6, 6, 3)
    weights = sketch.constant("shared", sketch.values(3, 3, 3, 4))
    norms = [sketch.fused_norm(sketch.conv(data, f"conv{n}", weights=weights), f"norm{n}") for n in (1, 2)]
    graph = sketch.graph(sketch.node("AddV2", "sum", *norms))
    folded = fold(graph).graph
    assert "FusedBatchNormV3" not in ops(folded)
    assert difference(graph, folded) < 1e-6
