import numpy as np
import pytest
from sketch import Sketch, difference, ops
from tensorflow.python.framework import dtypes

from calibrant.fold import fold

INPUT = {"NHWC": (6, 6, 6), "NCHW": (6, 6, 6), "NDHWC": (4, 4, 4, 6), "NCDHW": (6, 4, 4, 4)}


def group(
    data_format="NHWC", split="Split", inner=(False, False, False), outer=False, norm=True, scalar=False, op=None
):
    """Three convolutions of two channels each, with 4, 2 and 3 output channels."""
    sketch = Sketch()
    axis = 1 if data_format.startswith("NC") else -1
    data = sketch.input(*INPUT[data_format])
    position = sketch.constant("axis", axis, np.int32)
    if split == "Split":
        sketch.node("Split", "split", position, data, num_split=3)
    else:
        sizes = sketch.constant("sizes", [2, 2, 2], np.int32)
        sketch.node("SplitV", "split", data, sizes, position, num_split=3, Tlen=dtypes.int32)
    bias_format = "NCHW" if axis == 1 else "NHWC"
    parts = []
    for number, (channels, bias) in enumerate(zip((4, 2, 3), inner, strict=True)):
        part = sketch.conv(
            f"split:{number}",
            f"conv{number}",
            (2, channels),
            data_format,
            op or ("Conv3D" if "D" in data_format else "Conv2D"),
        )
        if scalar:
            part = sketch.node("Mul", f"product{number}", part, sketch.constant(f"number{number}", number + 2.0))
        parts.append(sketch.bias_add(part, f"bias{number}", channels, bias_format) if bias else part)
    data = sketch.node("ConcatV2", "concat", *parts, position, N=3, Tidx=dtypes.int32)
    if outer:
        data = sketch.bias_add(data, "bias", 9, bias_format)
    if norm:
        data = sketch.fused_norm(data, channels=9, data_format=data_format)
    return sketch.graph(sketch.node("Relu", "relu", data))


@pytest.mark.parametrize("data_format", INPUT)
@pytest.mark.parametrize("outer", [False, True])
@pytest.mark.parametrize("inner", [(False,) * 3, (True,) * 3, (False, True, False)])
def test_each_convolution_takes_its_part_of_the_norm(data_format, outer, inner):
    graph = group(data_format, inner=inner, outer=outer)
    folded = fold(graph)
    conv = "Conv3D" if "D" in data_format else "Conv2D"
    biases = ["BiasAdd"] * any((*inner, outer, True))
    assert ops(folded.graph) == ["Split", *[conv, *biases] * 3, "ConcatV2", "Relu"]
    assert difference(graph, folded.graph) < 1e-6
    norms = [fusion for fusion in folded.fusions if fusion.kind == "batch norm of a group convolution"]
    assert [fusion.layer for fusion in norms] == ["conv0", "conv1", "conv2"]
    absorbed = [name for fusion in folded.fusions if fusion.layer == "conv1" for name in fusion.absorbed]
    assert absorbed == ["bias1"] * inner[1] + ["bias"] * outer + ["norm"]


def test_splits_of_given_sizes():
    graph = group(split="SplitV")
    folded = fold(graph).graph
    assert "FusedBatchNormV3" not in ops(folded)
    assert difference(graph, folded) < 1e-6


def test_factors_inside_the_group_are_folded_before_the_norm():
    graph = group(scalar=True, inner=(True, True, True))
    folded = fold(graph).graph
    assert ops(folded) == ["Split", *["Conv2D", "BiasAdd"] * 3, "ConcatV2", "Relu"]
    assert difference(graph, folded) < 1e-6


def test_without_a_norm_the_biases_stay_with_their_convolutions():
    graph = group(norm=False, inner=(True, True, True))
    assert fold(graph).graph is graph


@pytest.mark.parametrize("named", ["conv1", "norm"])
def test_skipping_one_part_skips_the_whole(named):
    graph = group()
    folded = fold(graph, skip_fusion_layers=[named])
    assert folded.graph is graph and [node for node, _ in folded.left] == ["norm"]


def test_a_part_with_another_reader_has_its_part_of_the_norm_behind_it():
    graph = group().edit().finish(outputs=("relu:0", "conv1:0"), output_keys=("relu", "conv1"))
    folded = fold(graph)
    kinds = ["Split", "Conv2D", "BiasAdd", "Conv2D", "Mul", "AddV2", "Conv2D", "BiasAdd", "ConcatV2", "Relu"]
    assert ops(folded.graph) == kinds
    assert difference(graph, folded.graph) < 1e-6
    assert [fusion.layer for fusion in folded.fusions] == ["conv0", "conv2"]
    assert folded.left == (("norm/conv1/scaled", "'conv1' in front of it is an output of the model"),)


def beside(inner=False, last="norm"):
    """A convolution and a pooling side by side, as networks for segmentation begin."""
    sketch = Sketch()
    data = sketch.input(6, 6, 3)
    conv = sketch.conv(data)
    conv = sketch.bias_add(conv) if inner else conv
    window = {"ksize": [1, 3, 3, 1], "strides": [1, 1, 1, 1], "padding": "SAME"}
    pool = sketch.node("MaxPool", "pool", data, **window)
    joined = sketch.node("ConcatV2", "concat", conv, pool, sketch.constant("axis", 3, np.int32), N=2, Tidx=dtypes.int32)
    joined = sketch.fused_norm(joined, channels=7) if last == "norm" else sketch.bias_add(joined, channels=7)
    return sketch.graph(sketch.node("Relu", "relu", joined))


@pytest.mark.parametrize("inner", [False, True])
def test_a_norm_is_split_where_only_a_part_is_a_layer(inner):
    graph = beside(inner)
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", "BiasAdd", "MaxPool", "Mul", "AddV2", "ConcatV2", "Relu"]
    assert difference(graph, folded.graph) < 1e-6
    (fusion,) = folded.fusions
    assert fusion.kind == "batch norm behind a concatenation" and fusion.layer == "conv"
    assert fusion.absorbed == ("bias",) * inner + ("norm",)


def test_a_bias_alone_is_not_split():
    graph = beside(last="bias")
    assert fold(graph).graph is graph


def test_a_concatenation_of_images_keeps_the_norm():
    sketch = Sketch()
    axis, beside = sketch.constant("axis", 3, np.int32), sketch.constant("beside", 2, np.int32)
    sketch.node("Split", "split", axis, sketch.input(6, 6, 6), num_split=2)
    parts = [sketch.conv(f"split:{number}", f"conv{number}", (3, 4)) for number in (0, 1)]
    data = sketch.node("ConcatV2", "concat", *parts, beside, N=2, Tidx=dtypes.int32)
    folded = fold(sketch.graph(sketch.fused_norm(data, channels=4)))
    assert folded.fusions == () and [node for node, _ in folded.left] == ["norm"]


def test_convolutions_of_different_tensors():
    sketch = Sketch()
    data = sketch.input(6, 6, 3)
    parts = [sketch.conv(data, "conv0"), sketch.conv(sketch.node("Relu", "other", data), "conv1")]
    joined = sketch.node("ConcatV2", "concat", *parts, sketch.constant("axis", 3, np.int32), N=2, Tidx=dtypes.int32)
    graph = sketch.graph(sketch.fused_norm(joined, channels=8))
    folded = fold(graph)
    assert difference(graph, folded.graph) < 1e-6
    assert {fusion.kind for fusion in folded.fusions} == {"batch norm behind a concatenation"}
