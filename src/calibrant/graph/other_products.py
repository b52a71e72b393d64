"""Products that are no layers: operations with a kernel or a matrix that stay in float, and why."""

from __future__ import annotations

import re

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.canonical.einsum import why_not
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef

_IN_THREE = "three spatial axes, only {} is quantized there"
_CELL = "is a whole recurrent cell in one operation"
REASONS = {
    "AvgPool3D": f"pools over {_IN_THREE.format('Conv3D')}",
    "Conv3DBackpropInput": f"has {_IN_THREE.format('Conv3D')}",
    "Conv3DBackpropInputV2": f"has {_IN_THREE.format('Conv3D')}",
    "Dilation2D": "takes a maximum of sums, which is no product",
    "XlaCallModule": "is compiled code, whose products cannot be seen",
}
TABLES = frozenset({"Gather", "GatherNd", "GatherV2", "ResourceGather"})
LOOKUP = "looks up rows of a table, which is no product"
SOLVERS = frozenset({"BandedTriangularSolve", "MatrixSolve", "MatrixSolveLs", "MatrixTriangularSolve"})
SOLVES = "solves a system of equations, which is no product"
_RECURRENT = re.compile("LSTM|GRU|RNN")
_PRODUCT = re.compile("Conv|MatMul|Dot|Einsum")
_NO_PRODUCT = re.compile("^(Const|Convert)|Backprop(Filter|.*Bias)|ConvexHull")


def is_other_product(node: NodeDef) -> bool:
    """Whether a node has a kernel or a matrix to multiply with, as far as its operation says."""
    if node.op in REASONS or _RECURRENT.search(node.op):
        return True
    return bool(_PRODUCT.search(node.op)) and not _NO_PRODUCT.search(node.op)


def other_product(graph: Graph, node: NodeDef) -> str | None:
    """Why a node that is of no quantizable kind stays in float; None for nodes that multiply no matrix."""
    if node.op in TABLES:
        return LOOKUP if is_table(graph.constant(nd.data_inputs(node)[0])) else None
    if node.op in SOLVERS:
        return SOLVES if graph.constant(nd.data_inputs(node)[0]) is not None else None
    if not is_other_product(node):
        return None
    if node.op in REASONS:
        return REASONS[node.op]
    if node.op == "Einsum":
        return f"is no product of matrices: {why_not(graph, node)}"
    return _CELL if _RECURRENT.search(node.op) else f"{node.op} is of no kind that is quantized"


def is_table(value: np.ndarray | None) -> bool:
    """Whether a constant is like an embedding: float, and of two axes or more."""
    return value is not None and value.ndim >= 2 and value.dtype.kind == "f" and min(value.shape) >= 2
