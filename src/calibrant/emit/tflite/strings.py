"""Strings in a LiteRT file, such as names of classes: how a constant holds them, and what may make them."""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.reading.narrow_places import made_tensors
from calibrant.graph.tf_core import dtypes

MOVING = frozenset(
    {
        *("Const", "Identity", "IdentityN", "Gather", "GatherV2", "GatherNd"),
        *("Reshape", "ExpandDims", "Tile", "StridedSlice"),
    }
)
"""Operations that hand strings on which are there already, and whose kernels in LiteRT take strings."""
LOOKING_UP = frozenset({"Gather", "GatherV2"})
"""Of these, the converter knows those alone that take strings out of a list."""


def strings_in(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The strings of a constant: their number, where each begins and the last ends, and their bytes.

    Parameters
    ----------
    content : bytes
        The constant's buffer.

    Returns
    -------
    np.ndarray
        Of Python's bytes.
    """
    count = int(np.frombuffer(content, "<i4", 1)[0])
    ends = np.frombuffer(content, "<i4", count + 1, 4).tolist()
    found = np.empty(count, object)
    found[:] = [content[first:last] for first, last in zip(ends, ends[1:], strict=False)]
    return found.reshape(shape)


def unknown_strings(graph: Graph) -> list[str]:
    """The outputs that are strings of which LiteRT makes none, as others than those of a constant that are handed on.

    Where no output has numbers, these are all: nothing would say how good the numbers are that choose strings.
    """
    texts = [tensor for tensor in graph.outputs if graph.dtype(tensor) == dtypes.string]
    if len(texts) == len(graph.outputs):
        return texts
    return [tensor for tensor in texts if not all(_is_known(graph, each) for each in _strings_read(graph, tensor))]


def string_makers(graph: Graph) -> list[str]:
    """The nodes that write numbers as strings, which no operator of LiteRT does."""
    return [
        name
        for name, node in graph.nodes.items()
        if node.op not in (*MOVING, "Placeholder")
        and any(graph.dtype(tensor) == dtypes.string for tensor in made_tensors(graph, name))
        and not any(graph.dtype(tensor) == dtypes.string for tensor in nd.data_inputs(node))
        and graph.constant(f"{name}:0") is None
    ]


def _is_known(graph: Graph, tensor: str) -> bool:
    """Whether LiteRT makes a tensor of strings; of a single one, the interpreter makes other Python values."""
    node = graph.producer(tensor)
    if node.op in LOOKING_UP and len(graph.shape(nd.data_inputs(node)[0]) or ()) != 1:
        return False
    return node.op in MOVING and bool(graph.shape(tensor))


def _strings_read(graph: Graph, tensor: str) -> list[str]:
    """A tensor of strings, and all others that it comes from."""
    found = [tensor]
    for each in found:
        for read in nd.data_inputs(graph.producer(each)):
            if read not in found and graph.dtype(read) == dtypes.string:
                found.append(read)
    return found
