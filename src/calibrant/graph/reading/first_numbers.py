"""The first tensors of numbers that are made of text or of what a table or a queue gives."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from calibrant.graph import nodes as nd
from calibrant.graph.added_axis import SIZES
from calibrant.graph.graph import Graph
from calibrant.graph.reading.narrow_places import has_numbers, loses_layers, made_tensors
from calibrant.graph.reading.sparse_rows import COMBINERS, combined, sparse_tensors
from calibrant.graph.tf_core import NodeDef


@dataclass(frozen=True)
class FirstNumbers:
    """Where numbers begin downstream of nodes.

    Parameters
    ----------
    tensors : tuple[str, ...]
        The first of numbers on every way; with a row per sample as far as that can be told.
    sparse : tuple[str, ...]
        Those of them whose rows are not samples.
    outputs : tuple[str, ...]
        The outputs that are reached without numbers, or are the first themselves.
    """

    tensors: tuple[str, ...]
    sparse: tuple[str, ...]
    outputs: tuple[str, ...]


def first_numbers(graph: Graph, sources: Collection[str]) -> FirstNumbers:
    """The first tensors of numbers on every way from nodes to the outputs.

    Parameters
    ----------
    sources : Collection[str]
        Names of the nodes.
    """
    walk = _Walk(graph)
    for name, node in graph.nodes.items():
        made = made_tensors(graph, name)
        if name in sources:
            walk.tainted.update(made)
        elif not walk.tainted.isdisjoint(nd.data_inputs(node)):
            walk.go_on(node, made)
        elif name in walk.places:
            walk.take(made)
    found = tuple(dict.fromkeys(walk.found))
    without = tuple(tensor for tensor in graph.outputs if tensor in walk.tainted or tensor in found)
    return FirstNumbers(found, tuple(tensor for tensor in found if tensor in walk.sparse), without)


class _Walk:
    """What is known of the tensors so far, producers before consumers."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.tainted: set[str] = set()
        """Tensors that have to be made by the application, with what is made of them."""
        self.sizes: set[str] = set()
        """Those of them that are sizes of others, so that their rows are no samples."""
        self.sparse: set[str] = set()
        """Parts of sparse tensors, and what has as many rows."""
        self.places: set[str] = set()
        """Nodes that combine all rows of a sparse tensor."""
        self.found: list[str] = []

    def go_on(self, node: NodeDef, made: tuple[str, ...]) -> None:
        """A node that reads what has to be made by the application."""
        read = self.tainted.intersection(nd.data_inputs(node))
        is_sparse = not self.sparse.isdisjoint(nd.data_inputs(node)) and node.op not in COMBINERS
        if is_sparse:
            self.sparse.update(made)
        elif node.op in SIZES or (read <= self.sizes and all(self._is_of_sizes(tensor) for tensor in made)):
            self.sizes.update(made)
            self.tainted.update(made)
            return
        combined_ones: list[str] = []
        for parts in sparse_tensors(self.graph, node):
            place = None if is_sparse else combined(self.graph, parts)
            if place is None:
                self.sparse.update(parts)
            else:
                self.places.add(nd.node_name(place))
                combined_ones += parts
        made = tuple(tensor for tensor in made if tensor not in combined_ones)
        sizes = sorted(read & self.sizes)
        if sizes and any(loses_layers(self.graph, tensor) for tensor in made):
            self.sparse.update(sizes)
            self.found += sizes
            made = made if read - self.sizes else ()
        self.take(made)

    def take(self, tensors: Iterable[str]) -> None:
        """Tensors that are found where they are numbers."""
        for tensor in tensors:
            if has_numbers(self.graph, tensor):
                self.found.append(tensor)
            else:
                self.tainted.add(tensor)

    def _is_of_sizes(self, tensor: str) -> bool:
        """Whether a tensor that is computed from sizes has a fixed number of integers, as a shape has."""
        shape = self.graph.shape(tensor)
        return shape is not None and len(shape) < 2 and None not in shape and self.graph.dtype(tensor).is_integer
