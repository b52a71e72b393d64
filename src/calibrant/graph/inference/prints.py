"""What a graph prints for its developer, which no other format holds and quantization would repeat a hundred times."""

from __future__ import annotations

from dataclasses import replace

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.tf_core import FunctionDef, FunctionDefLibrary, NodeDef

PRINTING = frozenset({"Print", "PrintV2"})


def without_prints(graph: Graph) -> Graph:
    """The graph without Print and PrintV2; what waited for them waits for what they waited for."""
    if any(node.op in PRINTING for function in graph.library.function for node in function.node_def):
        graph = replace(graph, library=_silent_library(graph.library))
    printing = {name: node for name, node in graph.nodes.items() if node.op in PRINTING}
    if not printing:
        return graph
    silent = {name for name, node in printing.items() if node.op == "PrintV2"}
    nodes = {name: _passed_on(node) if node.op == "Print" else node for name, node in graph.nodes.items()}
    for name, node in list(nodes.items()):
        controls = nd.control_inputs(node)
        if silent.intersection(controls):
            data = nd.data_inputs(node)
            nodes[name] = nd.copy_node(node, [*data, *_waited_for(graph, controls, silent, told=not data)])
    return replace(graph, nodes=ordered(nodes, (*graph.outputs, *graph.inputs)))


def _passed_on(node: NodeDef) -> NodeDef:
    passing = nd.make_node("Identity", node.name, [], T=node.attr["T"])
    passing.input.extend([node.input[0], *nd.control_references(node)])
    return passing


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


def _silent_library(library: FunctionDefLibrary) -> FunctionDefLibrary:
    """The functions of loops and branches without what they print."""
    result = FunctionDefLibrary()
    result.CopyFrom(library)
    for function in result.function:
        _silence(function)
    return result


def _silence(function: FunctionDef) -> None:
    nodes = {node.name: node for node in function.node_def}
    silent = {name for name, node in nodes.items() if node.op == "PrintV2"}

    def awaited(node: NodeDef) -> list[str]:
        found = []
        for name in nd.control_inputs(node):
            found += awaited(nodes[name]) if name in silent else [f"^{name}"]
        return found

    kept = [_passed_on(node) if node.op == "Print" else nd.copy_node(node) for node in nodes.values()]
    kept = [node for node in kept if node.name not in silent]
    for node in kept:
        node.input[:] = [*_data(node), *dict.fromkeys(awaited(node))]
    read = {_maker(reference) for node in kept for reference in node.input}
    read |= {_maker(reference) for reference in function.ret.values()}
    texts = {_maker(nodes[name].input[0]) for name in silent} - read
    del function.node_def[:]
    function.node_def.extend(node for node in kept if node.name not in texts)
    for name in [name for name, made in function.control_ret.items() if made in silent]:
        del function.control_ret[name]
        function.signature.control_output.remove(name)


def _data(node: NodeDef) -> list[str]:
    return [reference for reference in node.input if not reference.startswith("^")]


def _maker(reference: str) -> str:
    """The node, or argument, that a reference inside a function is to."""
    return reference.removeprefix("^").split(":")[0]
