"""The codes inside a simulation: taking them in front of a dequantization, and letting a quantizer round others.

Codes are whole numbers in float32, the code of zero already subtracted.
"""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from tensorflow.python.framework import dtypes

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit

END = "/dequantized"


def stop_name(tensor: str) -> str:
    """The Identity behind the quantizer of a tensor of the integer part."""
    return f"{nd.input_reference(tensor).replace(':', '_')}/between"


def quantizer_behind(tensor: str) -> str:
    """The scope of the quantizer behind a tensor of the integer part."""
    return f"{stop_name(tensor)}/act_quant"


def quantizer_read(edit: Edit, name: str, index: int) -> str:
    """The scope of the quantizer whose dequantized values a node reads at an input."""
    node = edit.nodes[nd.node_name(nd.data_inputs(edit.nodes[name])[index])]
    while node.op == "Identity":
        node = edit.nodes[nd.node_name(nd.data_inputs(node)[0])]
    if not node.name.endswith(END):
        raise ValueError(f"{name!r} reads {node.name!r} at input {index}, which is no dequantization")
    return node.name.removesuffix(END)


def codes_read(edit: Edit, name: str, index: int) -> str:
    """The codes that a node reads dequantized at an input."""
    return nd.data_inputs(edit.nodes[f"{quantizer_read(edit, name, index)}{END}"])[0]


def round_instead(edit: Edit, scope: str, tensor: str, factors: np.ndarray | None = None, wide: bool = False) -> None:
    """Let a quantizer round ``tensor * factors`` to codes: to nearest even, with its offset and clipping.

    Parameters
    ----------
    scope : of the quantizer.
    factors : float32, one or as many as channels; None where the tensor holds codes already.
    wide : the tensor is float64, and is rounded to float32 first.
    """
    scaled = f"{scope}/scaled"
    if wide:
        tensor = edit.add("Cast", f"{scope}/sum", [tensor], SrcT=dtypes.float64, DstT=dtypes.float32)
    edit.set_input(scaled, 0, tensor)
    values = np.float32(1) if factors is None else np.asarray(factors, np.float32)
    values = values.reshape(()) if values.size == 1 else values
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in values.shape])
    constant = edit.add_constant(f"{scope}/multiplier/value", values)
    # TensorFlow's optimizer would multiply a constant into the weights.
    attributes = {"dtype": dtypes.float32, "shape": AttrValue(shape=shape)}
    edit.set_input(scaled, 1, edit.add("PlaceholderWithDefault", f"{scope}/multiplier", [constant], **attributes))


def end_at_six(edit: Edit, name: str, quantizer: Quantizer) -> None:
    """Let a node that is a Relu6, of values in other steps than 1, end at the code of six; others are left alone."""
    node = edit.nodes[name]
    if node.op == "Relu6":
        highest = min(quantizer.highest, int(np.rint(np.float32(6) / quantizer.scale)) + quantizer.offset)
        scope = quantizer_behind(f"{name}:0")
        edit.set_input(f"{scope}/codes", 2, edit.add_constant(f"{scope}/bound", np.float32(highest)))
        edit.put(nd.make_node("Relu", name, node.input, T=nd.attribute(node, "T")))
