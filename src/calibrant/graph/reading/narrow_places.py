"""Tensors that everything which depends on others goes through."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.layer_kinds import KINDS


def narrow_places(graph: Graph, sources: Collection[str], of_any_type: bool = False) -> Iterator[str]:
    """The tensors of numbers that everything which depends on some others goes through, first to last.

    Parameters
    ----------
    sources : Collection[str]
        Names of nodes, or tensors where not all of a node counts.
    of_any_type : bool
        Tensors of text and the like too.
    """
    positions = {name: place for place, name in enumerate(graph.nodes)}
    tainted: set[str] = set()
    ahead = {nd.node_name(source) for source in sources} & graph.nodes.keys()
    furthest = -1
    for name, node in graph.nodes.items():
        made = made_tensors(graph, name)
        is_source = name in ahead
        if is_source and name not in sources:
            made = tuple(tensor for tensor in made if tensor in sources)
        elif not is_source and tainted.isdisjoint(nd.data_inputs(node)):
            continue
        ahead.discard(name)
        tainted.update(made)
        alone = not is_source and not ahead and furthest == positions[name] and made == (f"{name}:0",)
        if alone and tainted.isdisjoint(graph.outputs) and (of_any_type or has_numbers(graph, made[0])):
            yield made[0]
        furthest = max([furthest, *(positions[reader.name] for each in made for reader, _ in graph.consumers(each))])


def made_tensors(graph: Graph, name: str) -> tuple[str, ...]:
    """The tensors of a node that are read or are outputs of the graph, in order."""
    outputs = {nd.split_tensor(tensor)[1] for tensor in graph.outputs if nd.node_name(tensor) == name}
    return tuple(f"{name}:{index}" for index in sorted({*graph.read_outputs(name), *outputs}))


def has_numbers(graph: Graph, tensor: str) -> bool:
    """Whether a tensor holds numbers, and is no single one."""
    dtype = graph.dtype(tensor)
    return graph.shape(tensor) != () and (dtype.is_floating or dtype.is_integer)


def loses_layers(graph: Graph, place: str) -> bool:
    """Whether a layer is upstream of a tensor, so that it is gone where the graph is cut there."""
    return any(node.op in KINDS for node in ordered(graph.nodes, [place]).values())
