"""Whether an operator multiplies by a layer's own weights, and adds its own bias.

What stands in front of a layer or behind it may be worked into both by the converter, as factors of channels; then they
are no longer those that the layer's codes replace.
"""

from __future__ import annotations

import numpy as np

from calibrant.emit.tflite.file_parts import Operator
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.node_input import read_tensor

BIAS_INPUT = {"TRANSPOSE_CONV": 3}
"""Where an operator reads its bias, if it is not input 2."""
_ROUNDING = 1e-3


def has_own_constants(operator: Operator, graph: Graph, layer: Layer) -> bool:
    """Whether the constants of an operator have the sizes of those of a layer; true of what is not constant.

    Order and signs of the numbers are not looked at, as they depend on the layout.

    Parameters
    ----------
    operator : Operator
        Of the float file, a kernel for layers.
    graph : Graph
        The graph that the layer is of.
    layer : Layer
        The layer.
    """
    if layer.constant is None:
        return True
    weights = graph.constant(read_tensor(graph, layer.weights_place))
    bias = None if layer.bias is None else graph.constant(nd.data_inputs(graph.nodes[layer.bias])[1])
    place = BIAS_INPUT.get(operator.name, 2)
    return _alike(_constant(operator, 1), weights) and (bias is None or _alike(_constant(operator, place), bias))


def _constant(operator: Operator, place: int) -> np.ndarray | None:
    """Of an input; of one that is left out a zero."""
    if place >= len(operator.inputs) or operator.inputs[place] is None:
        return np.zeros(1)
    return operator.read(place).values


def _alike(found: np.ndarray | None, wanted: np.ndarray | None) -> bool:
    if found is None or wanted is None:
        return True
    sizes = [float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) for values in (found, wanted)]
    return abs(sizes[0] - sizes[1]) <= _ROUNDING * sizes[1]
