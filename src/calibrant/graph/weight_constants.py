"""The constants that count as weights: float, of two axes or more, embeddings and what loops read included."""

from __future__ import annotations

import math
from collections.abc import Iterator

from calibrant.graph.functions.control_flow import called_functions
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef, dtypes

_FLOATS = (dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64)


def weight_constants(graph: Graph) -> dict[str, int]:
    """Constant → its number of elements, without biases and norms; in a function named with that in front."""
    found = {node.name: size for node in graph.nodes.values() for size in _size(node)}
    called, _ = called_functions(graph.nodes.values(), graph.library)
    for name, function in called.items():
        found |= {f"{name}/{node.name}": size for node in function.node_def for size in _size(node)}
    return found


def _size(node: NodeDef) -> Iterator[int]:
    if node.op != "Const" or dtypes.as_dtype(node.attr["dtype"].type) not in _FLOATS:
        return
    sizes = [dim.size for dim in node.attr["value"].tensor.tensor_shape.dim]
    if sum(size > 1 for size in sizes) >= 2:
        yield math.prod(sizes)
