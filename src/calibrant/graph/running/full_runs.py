"""Nodes in front of an output whose run is as much of a network as a run of that output."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.needs import needs


def nodes_as_good(graph: Graph, watched: Mapping[str, Sequence[Collection[str]]]) -> dict[str, str]:
    """Nodes behind all watched tensors that an output needs, with that output; none where there are loops or branches.

    Parameters
    ----------
    graph : Graph
        The network.
    watched : Mapping[str, Sequence[Collection[str]]]
        Output → groups of tensors that are computed whenever it is run, whether it needs them or not.

    Returns
    -------
    dict[str, str]
        Node → output. No watched tensor needs the node. It needs all inputs of what is computed with the output.
    """
    if graph.regions:
        return {}
    tensors = {tensor for groups in watched.values() for group in groups for tensor in group}
    names = {nd.node_name(tensor) for tensor in tensors}
    needed = needs(graph, graph.input_nodes | names)
    in_front = ordered(graph.nodes, sorted(tensors)).keys()
    found: dict[str, str] = {}
    for output, groups in watched.items():
        of_output = needed[nd.node_name(output)] & names
        inputs = set[str]().union(*(needed[nd.node_name(tensor)] for group in groups for tensor in group))
        wanted = of_output | (inputs & graph.input_nodes)
        for name in ordered(graph.nodes, [output]).keys() - in_front - graph.output_nodes if of_output else ():
            if wanted <= needed[name]:
                found.setdefault(name, output)
    return found
