"""What a graph prints for its developer, which no other format holds and quantization would repeat a hundred times."""

from __future__ import annotations

from dataclasses import replace

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.tf_core import NodeDef


def without_prints(graph: Graph) -> Graph:
    """The graph without Print and PrintV2; what waited for them waits for what they waited for."""
    printing = {name: node for name, node in graph.nodes.items() if node.op in ("Print", "PrintV2")}
    if not printing:
        return graph
    silent = {name for name, node in printing.items() if node.op == "PrintV2"}
    nodes = {name: _passed_on(node) if node.op == "Print" else node for name, node in graph.nodes.items()}
    for name, node in nodes.items():
        controls = nd.control_inputs(node)
        if silent.intersection(controls):
            data = nd.data_inputs(node)
            nodes[name] = nd.copy_node(node, [*data, *_waited_for(graph, controls, silent, told=not data)])
    return replace(graph, nodes=ordered(nodes, (*graph.outputs, *graph.inputs)))


def _passed_on(node: NodeDef) -> NodeDef:
    controls = (f"^{name}" for name in nd.control_inputs(node))
    return nd.make_node("Identity", node.name, [nd.data_inputs(node)[0], *controls], T=node.attr["T"])


def _waited_for(graph: Graph, controls: tuple[str, ...], silent: set[str], told: bool) -> list[str]:
    """Control inputs without the silent nodes, in whose place those are that they wait for.

    ``told`` says that a node also waits for what is printed: a constant belongs to a loop or branch by that alone.
    """
    waiting, found = list(controls), dict[str, None]()
    for name in waiting:
        if name in silent:
            text = graph.nodes[nd.node_name(graph.nodes[name].input[0])]  # TensorFlow lets the text wait, too
            waiting += [*nd.control_inputs(graph.nodes[name]), *nd.control_inputs(text)]
            waiting += [nd.node_name(tensor) for tensor in nd.data_inputs(text)] if told else []
        else:
            found[f"^{name}"] = None
    return list(found)
