"""Operands that the converter would take for one another.

It moves transpositions behind what is computed from their results and a constant. Where the constant is the first
operand, it then stands second: 1 - x becomes x - 1, and a constant divided by x is x divided by it.
"""

from __future__ import annotations

from collections.abc import Iterator

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import dtypes
from calibrant.layer_kinds import KINDS

ORDERED = frozenset(
    {
        *("Sub", "RealDiv", "Div", "DivNoNan", "FloorDiv", "FloorMod", "Pow", "TruncateDiv", "Xdivy", "Atan2"),
        *("Greater", "GreaterEqual", "Less", "LessEqual", "SquaredDifference"),
    }
)
"""Operations whose operands have an order."""
TURNING = frozenset({"Transpose", "ConjugateTranspose"})
FILLING = frozenset({"OnesLike", "ZerosLike", "Fill", "BroadcastTo"})


def turned_operands(graph: Graph) -> Iterator[str]:
    """Second operands, numbers, that may be transposed, of operations whose first one is a constant.

    With a mark behind them, nothing is moved across.
    """
    for node in graph.nodes.values():
        if node.op not in ORDERED or node.name in graph.regions:
            continue
        first, second = nd.data_inputs(node)
        is_number = graph.dtype(second) == dtypes.float32
        if is_number and _becomes_constant(graph, first) and _may_be_turned(graph, second):
            yield second


def _becomes_constant(graph: Graph, tensor: str) -> bool:
    """Whether the converter knows a tensor's numbers, as it does where the shape is known that they fill."""
    return graph.constant(tensor) is not None or graph.producer(tensor).op in FILLING


def _may_be_turned(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is computed from one that was transposed, without a layer in between."""
    seen = {tensor}
    waiting = [tensor]
    for each in waiting:
        node = graph.producer(each)
        if node.op in TURNING:
            return True
        if node.op not in KINDS and node.name not in graph.regions:
            new = [read for read in nd.data_inputs(node) if read not in seen and graph.constant(read) is None]
            seen.update(new)
            waiting += new
    return False
