"""Values without a fixed number per sample: which tensors have such rows, and where rows are samples again."""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.reading.narrow_places import loses_layers, narrow_places
from calibrant.graph.running.partial_runs import nodes_reached
from calibrant.graph.tf_core import NodeDef

_MAKERS = {
    "StringSplit": (0, 1, 2),
    "StringSplitV2": (0, 1, 2),
    "UnicodeDecode": (0, 1),
    "UnicodeDecodeWithOffsets": (0, 1, 2),
    "Where": (0,),
}
"""Operations that make one sparse or ragged tensor, and which of their outputs it consists of."""
_SPARSE_COUNTS = {"ParseExample": "Nsparse", "ParseExampleV2": "num_sparse"}
SEGMENT_LOOKUPS = frozenset(
    {
        *("SparseSegmentMean", "SparseSegmentMeanWithNumSegments", "SparseSegmentSqrtN"),
        *("SparseSegmentSqrtNWithNumSegments", "SparseSegmentSum", "SparseSegmentSumWithNumSegments"),
    }
)
"""Combiners that look up rows of what they read first."""
COMBINERS = SEGMENT_LOOKUPS | {
    *("RaggedBincount", "RaggedTensorToTensor", "SparseBincount", "SparseReduceMax", "SparseReduceSum"),
    *("SegmentMax", "SegmentMean", "SegmentMin", "SegmentProd", "SegmentSum"),
    *("SparseTensorDenseMatMul", "SparseToDense"),
    *("UnsortedSegmentMax", "UnsortedSegmentMin", "UnsortedSegmentProd", "UnsortedSegmentSum"),
}
"""Operations that make a row per sample of the rows of a sparse or ragged tensor."""


def sparse_tensors(graph: Graph, node: NodeDef) -> list[tuple[str, ...]]:
    """The sparse and ragged tensors that a node makes, each as those of its parts that are read."""
    groups = [_MAKERS[node.op]] if node.op in _MAKERS else []
    if node.op in _SPARSE_COUNTS:
        sparse = node.attr[_SPARSE_COUNTS[node.op]].i
        ragged = len(node.attr["ragged_value_types"].list.type)
        first = 3 * sparse + len(node.attr["Tdense"].list.type)
        groups = [(each, sparse + each, 2 * sparse + each) for each in range(sparse)]
        groups += [(first + each, first + ragged + each) for each in range(ragged)]
    read = graph.read_outputs(node.name)
    named = [tuple(f"{node.name}:{index}" for index in group if index in read) for group in groups]
    return [tensors for tensors in named if tensors]


def combined(graph: Graph, tensors: tuple[str, ...]) -> str | None:
    """The first tensor with a row per sample that everything made of a sparse tensor goes through, if layers do not.

    Parameters
    ----------
    tensors : tuple[str, ...]
        The parts of the sparse tensor.
    """
    first = [reader.name for tensor in tensors for reader, _ in graph.consumers(tensor)]
    reached = nodes_reached(nd.readers(graph.nodes), first)
    combiners = {name for name in reached if graph.nodes[name].op in COMBINERS}
    for place in narrow_places(graph, tensors, of_any_type=True):
        if loses_layers(graph, place):
            return None
        if not combiners.isdisjoint(ordered(graph.nodes, [place])):
            return place
    return None
