"""Operands that the converter would take for one another.

It moves transpositions behind what is computed from their results and a constant. Where the constant is the first
operand, it then stands second: 1 - x becomes x - 1, and a constant divided by x is x divided by it.
"""

from __future__ import annotations

from collections.abc import Iterator

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph

ORDERED = frozenset(
    {
        *("Sub", "RealDiv", "Div", "DivNoNan", "FloorDiv", "FloorMod", "Pow", "TruncateDiv", "Xdivy", "Atan2"),
        *("Greater", "GreaterEqual", "Less", "LessEqual", "SquaredDifference"),
    }
)
"""Operations whose operands have an order."""
TURNING = frozenset({"Transpose", "ConjugateTranspose"})


def turned_operands(graph: Graph) -> Iterator[str]:
    """Second operands that may be transposed, of operations whose first one is a constant.

    With a mark behind them, nothing is moved across.
    """
    for node in graph.nodes.values():
        read = nd.data_inputs(node)
        if node.op in ORDERED and graph.constant(read[0]) is not None and _may_be_turned(graph, read[1]):
            yield read[1]


def _may_be_turned(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is computed, from itself and constants alone, from one that was transposed."""
    while True:
        node = graph.producer(tensor)
        if node.op in TURNING:
            return True
        read = [each for each in nd.data_inputs(node) if graph.constant(each) is None]
        if len(read) != 1 or node.name in graph.regions:
            return False
        [tensor] = read
