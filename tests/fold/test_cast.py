"""Between a layer in float16 and its norm in float32 stands a Cast; the bias is the layer's, in float16."""

import numpy as np
import pytest
from sketch import Sketch, difference, ops
from tensorflow.python.framework import dtypes

from calibrant.fold import fold


@pytest.mark.parametrize("inner", [False, True])
def test_a_norm_behind_a_cast(inner):
    sketch = Sketch(dtype=np.float16)
    data = sketch.conv(sketch.input(6, 6, 3))
    data = sketch.bias_add(data) if inner else data
    wide = sketch.node("Cast", "wide", data, SrcT=dtypes.float16, DstT=dtypes.float32)
    sketch.type, sketch.dtype = dtypes.float32, np.dtype(np.float32)
    graph = sketch.graph(sketch.node("Relu", "relu", sketch.fused_norm(wide)))
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", "BiasAdd", "Cast", "Relu"] and folded.left == ()
    assert folded.graph.dtype("conv/bias:0") == dtypes.float16
    assert difference(graph, folded.graph) < 5e-3
    assert folded.fusions[-1].kind == "batch norm behind a Cast"


def test_a_cast_to_integers_ends_the_chain():
    sketch = Sketch()
    whole = sketch.node("Cast", "whole", sketch.conv(sketch.input(6, 6, 3)), SrcT=dtypes.float32, DstT=dtypes.int32)
    data = sketch.node("Cast", "wide", whole, SrcT=dtypes.int32, DstT=dtypes.float32)
    folded = fold(sketch.graph(sketch.node("Relu", "relu", sketch.fused_norm(data))))
    assert folded.fusions == ()
    assert folded.left == (("norm", "'whole' (Cast) stands between it and the layer 'conv'"),)


def test_axes_of_size_one_that_come_and_go():
    sketch = Sketch()
    data = sketch.node("Squeeze", "squeeze", sketch.conv(sketch.input(1, 8, 3)), squeeze_dims=[1])
    data = sketch.node("ExpandDims", "expand", data, sketch.constant("axis", 1, np.int32), Tdim=dtypes.int32)
    graph = sketch.graph(sketch.node("Relu", "relu", sketch.fused_norm(data)))
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", "BiasAdd", "Squeeze", "ExpandDims", "Relu"]
    assert difference(graph, folded.graph) < 1e-6
