"""How a graph is cut so that operations which LiteRT does not have are left to the application, before or behind it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.reading.cut_proposal import inputs_option
from calibrant.graph.reading.narrow_places import loses_layers, narrow_places
from calibrant.graph.running.partial_runs import nodes_reached
from calibrant.graph.tf_core import dtypes
from calibrant.layer_kinds import KINDS

SIZES = frozenset({"Shape", "ShapeN", "Size", "Rank"})
MOST_TENSORS = 4
"""That a hint names."""


def cut_hint(graph: Graph, names: Collection[str]) -> str | None:
    """What to write so that nodes are cut off together with no layer; None where they are among the layers.

    Parameters
    ----------
    graph : Graph
        The model.
    names : Collection[str]
        The nodes.
    """
    if not names or not all(name in graph.nodes for name in names):
        return None
    readers = nd.readers(graph.nodes)
    behind = nodes_reached(readers, names)
    read = {nd.node_name(tensor) for name in names for tensor in nd.data_inputs(graph.nodes[name])}
    for place in narrow_places(graph, read):
        node = nd.node_name(place)
        is_behind = node in behind and nodes_reached(readers, readers.get(node, ())).keys().isdisjoint(names)
        if is_behind and not loses_layers(graph, place):
            return f"feed what is made of it, {inputs_option(graph, [place])}"
    front = _in_front_of_layers(graph, readers, names)
    if front is not None:
        return f"feed what is made of it, {inputs_option(graph, front)}"
    made = [f"{name}:{index}" for name in names for index in graph.read_outputs(name)]
    made = [tensor for tensor in made if any(each.name not in names for each, _ in graph.consumers(tensor))]
    if made and not any(loses_layers(graph, tensor) or graph.dtype(tensor) == dtypes.string for tensor in made):
        return f"feed what is made of it, {inputs_option(graph, made)}"
    ends = _in_front_of(graph, readers, behind)
    return None if ends is None else f"end in front of it, {_outputs_option(graph, ends)}"


def _outputs_option(graph: Graph, ends: Sequence[str]) -> str:
    """What to write so that a graph ends at some tensors, and still takes all that the data have."""
    option = f"--outputs {','.join(map(nd.input_reference, ends))}"
    is_all_read = graph.input_nodes <= ordered(graph.nodes, ends).keys()
    return option if is_all_read else f"{option} --inputs {','.join(map(nd.input_reference, graph.inputs))}"


def _in_the_model(graph: Graph, tensor: str) -> str:
    """A tensor, or what it is made of where a bias of zeros was added for its correction."""
    node = graph.producer(tensor)
    read = nd.data_inputs(node)
    return read[0] if node.op == "BiasAdd" and read[1] == f"{node.name}/zeros:0" else tensor


def _values_reached(graph: Graph, readers: Mapping[str, Sequence[str]]) -> Collection[str]:
    """The nodes that depend on what the inputs hold, and not on their sizes alone."""
    of_values = {name: [each for each in read if graph.nodes[each].op not in SIZES] for name, read in readers.items()}
    return nodes_reached(of_values, graph.input_nodes)


def _in_front_of(graph: Graph, readers: Mapping[str, Sequence[str]], behind: Collection[str]) -> list[str] | None:
    """The outputs that are not among nodes, and the numbers that the others are made of; None if there are layers.

    Lengths of sequences and the like are left out, as the application has what they are made of: the inputs.
    """
    if any(graph.nodes[name].op in KINDS for name in behind):
        return None
    moving = _values_reached(graph, readers)
    read = {tensor: None for name in behind for tensor in nd.data_inputs(graph.nodes[name])}
    read = {tensor: None for tensor in read if nd.node_name(tensor) in moving and nd.node_name(tensor) not in behind}
    read = {tensor: None for tensor in read if _is_not_at_hand(graph, tensor)}
    if not read or not all(graph.dtype(tensor).is_floating for tensor in read):
        return None
    kept = [tensor for tensor in graph.outputs if nd.node_name(tensor) not in behind]
    ends = list(dict.fromkeys(_in_the_model(graph, tensor) for tensor in (*kept, *read)))
    return ends if len(ends) <= MOST_TENSORS else None


def _in_front_of_layers(graph: Graph, readers: Mapping[str, Sequence[str]], names: Collection[str]) -> list[str] | None:
    """The few numbers that layers, and all that is behind them, are made of; None where nodes are among these."""
    kept = nodes_reached(readers, [name for name, node in graph.nodes.items() if node.op in KINDS]).keys()
    if not kept.isdisjoint(names) or not {nd.node_name(tensor) for tensor in graph.outputs} <= kept:
        return None
    moving = nodes_reached(readers, graph.input_nodes)
    read = dict.fromkeys(tensor for name in graph.nodes if name in kept for tensor in nd.data_inputs(graph.nodes[name]))
    read = {each: None for each in read if nd.node_name(each) in moving and nd.node_name(each) not in kept}
    are_floats = all(graph.dtype(tensor).is_floating for tensor in read)
    return list(read) if read and len(read) <= MOST_TENSORS and are_floats else None


def _is_not_at_hand(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is made by layers, or computed in float: others the application has."""
    is_computed = graph.dtype(tensor).is_floating and tensor not in graph.inputs
    return is_computed or loses_layers(graph, tensor)
