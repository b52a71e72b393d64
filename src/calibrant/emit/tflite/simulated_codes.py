"""The codes inside a simulation: taking them in front of a dequantization, and rounding to them as a kernel does."""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from tensorflow.python.framework import dtypes

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit

HIGHEST_OF = {"Relu6": np.float32(6)}


def stop_name(tensor: str) -> str:
    """The Identity behind the quantizer of a tensor of the integer part."""
    return f"{nd.input_reference(tensor).replace(':', '_')}/between"


def codes_read(edit: Edit, name: str, index: int) -> str:
    """The codes less the code of zero, whole numbers in float32, that a node reads dequantized at an input."""
    node = edit.nodes[nd.node_name(nd.data_inputs(edit.nodes[name])[index])]
    while node.op == "Identity":
        node = edit.nodes[nd.node_name(nd.data_inputs(node)[0])]
    return nd.data_inputs(node)[0]


def scaled_by(edit: Edit, tensor: str, factors: np.ndarray, quantizer: Quantizer, wide: bool = False) -> None:
    """Round a tensor of whole numbers as a kernel does: multiply, round to nearest even, add the code of zero, clip.

    Parameters
    ----------
    tensor : behind which there is a quantizer, :func:`stop_name`; its activation is one of whole numbers from here on.
    factors : float32, one or as many as channels.
    quantizer : the one that is behind the tensor.
    wide : the tensor is float64.
    """
    scope = f"{stop_name(tensor)}/act_quant"
    if wide:
        name = edit.free_name(f"{scope}/sum")
        edit.set_input(f"{scope}/scaled", 0, edit.add("Cast", name, [tensor], SrcT=dtypes.float64, DstT=dtypes.float32))
    shape = TensorShapeProto()
    values = factors.reshape(()) if factors.size == 1 else factors
    for size in values.shape:
        shape.dim.add().size = size
    constant = edit.add_constant(f"{scope}/multiplier/value", values.astype(np.float32))
    # A constant would be multiplied into the weights by TensorFlow's optimizer.
    factor = edit.add(
        "PlaceholderWithDefault",
        f"{scope}/multiplier",
        [constant],
        dtype=dtypes.float32,
        shape=AttrValue(shape=shape),
    )
    edit.set_input(f"{scope}/scaled", 1, factor)
    node = edit.nodes[nd.node_name(tensor)]
    if node.op in HIGHEST_OF:
        highest = min(quantizer.highest, int(np.rint(HIGHEST_OF[node.op] / quantizer.scale)) + quantizer.offset)
        edit.set_input(f"{scope}/codes", 2, edit.add_constant(f"{scope}/bound", np.float32(highest)))
        edit.put(nd.make_node("Relu", node.name, node.input, T=nd.attribute(node, "T")))
