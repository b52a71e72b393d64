import numpy as np
import pytest
from sketch import Sketch, difference, ops
from tensorflow.python.framework import dtypes

from calibrant.fold import fold

SPACE = {"NHWC": (6, 6, 3), "NCHW": (3, 6, 6)}


def dilated(data_format="NHWC", inner_bias=False, outer_bias=False, op="Conv2D", crop=0):
    """A dilated convolution as TensorFlow 1.x wrote it, then a batch norm."""
    sketch = Sketch()
    spatial = [2, 2] if data_format == "NHWC" else [1, 2, 2]
    block = sketch.constant("block", spatial, np.int32)
    pads = sketch.constant("pads", [[2, 2] if size == 2 else [0, 0] for size in spatial], np.int32)
    crops = sketch.constant("crops", [[0, crop] if size == 2 else [0, 0] for size in spatial], np.int32)
    data = sketch.input(*SPACE[data_format])
    data = sketch.node("SpaceToBatchND", "apart", data, block, pads, Tblock_shape=dtypes.int32, Tpaddings=dtypes.int32)
    data = sketch.conv(data, channels=(3, 6), data_format=data_format, op=op, padding="VALID")
    if inner_bias:
        data = sketch.bias_add(data, "inner", 6, data_format)
    data = sketch.node("BatchToSpaceND", "together", data, block, crops, Tblock_shape=dtypes.int32, Tcrops=dtypes.int32)
    if outer_bias:
        data = sketch.bias_add(data, "outer", 6, data_format)
    sketch.node("Relu", "relu", sketch.fused_norm(data, channels=6, data_format=data_format))
    return sketch.graph("relu")


@pytest.mark.parametrize("inner_bias", [False, True])
@pytest.mark.parametrize("outer_bias", [False, True])
@pytest.mark.parametrize("data_format", SPACE)
def test_the_norm_goes_into_the_convolution_and_its_bias(data_format, inner_bias, outer_bias):
    graph = dilated(data_format, inner_bias, outer_bias)
    folded = fold(graph)
    assert ops(folded.graph) == ["SpaceToBatchND", "Conv2D", "BiasAdd", "BatchToSpaceND", "Relu"]
    assert difference(graph, folded.graph) < 1e-6
    assert folded.fusions[-1].kind == "batch norm of a dilated convolution"
    absorbed = [name for fusion in folded.fusions for name in fusion.absorbed]
    assert absorbed == ["inner"] * inner_bias + ["outer"] * outer_bias + ["norm"]


def test_positions_that_are_cropped():
    graph = dilated(crop=1, inner_bias=True)
    assert difference(graph, fold(graph).graph) < 1e-6


def test_depthwise():
    graph = dilated(op="DepthwiseConv2dNative")
    folded = fold(graph).graph
    assert "FusedBatchNormV3" not in ops(folded)
    assert difference(graph, folded) < 1e-6


@pytest.mark.parametrize("fed", ["block", "crops"])
def test_a_block_that_is_computed_leaves_channels_alone(fed):
    from calibrant.graph.reading.load import load

    cut = load(dilated().graph_def(), inputs=["x", fed], outputs=["relu"])
    assert "FusedBatchNormV3" not in ops(fold(cut).graph)


def test_blocks_that_move_channels_keep_the_norm():
    sketch = Sketch()
    conv = sketch.conv(sketch.input(3, 6, 6), data_format="NCHW")
    block, crops = sketch.constant("block", [2], np.int32), sketch.constant("crops", [[0, 0]], np.int32)
    data = sketch.node("BatchToSpaceND", "together", conv, block, crops, Tblock_shape=dtypes.int32, Tcrops=dtypes.int32)
    folded = fold(sketch.graph(sketch.fused_norm(data, channels=8, data_format="NCHW")))
    assert folded.fusions == () and [node for node, _ in folded.left] == ["norm"]


def test_without_a_norm_nothing_is_touched():
    sketch = Sketch()
    conv = sketch.bias_add(sketch.conv(sketch.input(6, 6, 3)))
    block, crops = sketch.constant("block", [1, 1], np.int32), sketch.constant("crops", [[0, 0]] * 2, np.int32)
    sketch.node("BatchToSpaceND", "together", conv, block, crops, Tblock_shape=dtypes.int32, Tcrops=dtypes.int32)
    graph = sketch.graph("together")
    assert fold(graph).graph is graph
